// Every byte the engine will hold, item by item, before it exists. The policy search asks this; the
// engine allocates exactly these sizes under these labels. What does not fit is refused here, with
// the smallest budget that works.
//
// Labels, by tier (C: where the device computes, host for the CPU): C vectors, C work, C head; host
// and device weights, ring, gather, logits, hidden, activation slots, kv, kv staging, exchange;
// of several devices each has its own, the first one the gather slots, the last one the head;
// host kernel scratch, io (bounce blocks), engine (tables, queues, steps), reserved; own needs, of
// the device and of the host, of accelerators. Every item is a multiple of 4096 bytes, items of
// zero bytes are left out.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "model/program.h"
#include "plan/device_split.h"
#include "plan/exchange.h"
#include "plan/machine.h"
#include "plan/placement.h"
#include "plan/policy.h"
#include "plan/workload.h"
#include "tensor/kv_layout.h"

namespace penstock {

// Fixed inputs of a plan.
struct PlanInput {
  const ModelSpec* spec = nullptr;
  const WeightList* weights = nullptr;
  const Program* program = nullptr;
  const Program* apart = nullptr;  // accelerator: the program with attention apart
  std::vector<FormatId> formats;   // by weight id
  FormatId kv = 0;
  Compute compute = Compute::fast;
  bool invariant = true;     // a row's bits do not follow from the number of rows
  bool accelerator = false;  // operands must be in device memory
  int threads = 1;
  uint64_t host_bytes = 0, disk_bytes = 0;  // budgets
  std::vector<uint64_t> device_bytes;       // of each accelerator; empty: there is none
  // What each accelerator needs for itself, of its memory and of the host's.
  uint64_t own_device_bytes = 0, own_host_bytes = 0;
  uint64_t reserved_host_bytes = 0;  // already spoken for (tokenizer, driver)
  int max_context = 0;               // tokens a row may have
  Workload workload;
  Machine machine;
};

// A complete policy: every number the builder and the engine need.
struct ResolvedPolicy {
  Shares weights{0, 1, 0}, kv{0, 1, 0}, activations{0, 1, 0};
  int micro_batch = 0;         // sequences
  int micro_batch_tokens = 0;  // rows a kernel launch may have: sizes work registers
  int micro_batches = 0;       // sweep_tokens = micro_batches * micro_batch_tokens at most
  int prefill_chunk = 0;
  int64_t pace = 0;  // tokens of prompts that enter with a sweep, on average; 0: no limit
  bool share_prefix = true;
  bool host_attention = false;  // accelerator: see Policy
  bool kv_split = false;
  Admission admission = Admission::continuous;
  bool overlap = true, step_barrier = false, whole_tensors = false;  // for comparisons: see Policy
  std::vector<int> device_layers;                                    // as DeviceSplit takes them
  int lookahead = 2;  // visits (modules) whose panels may be loading beyond the current one
  int threads = 1;
  int max_sequences = 0;  // in flight
  int page_tokens = 32;
  int ring_slots =
      0;  // staging slots for panels; 0: two of the largest visits and what lookahead adds
  uint64_t panel_bytes = uint64_t{2} << 20;

  DeviceSplit split() const { return DeviceSplit(device_layers); }
  // Sweeps in flight: one for each device, so that all have work. Each serves its own rows.
  int sweeps() const { return std::max(1, static_cast<int>(device_layers.size())); }
  // Rows in flight that one sweep serves, at most.
  int sweep_rows() const { return (max_sequences + sweeps() - 1) / sweeps(); }
};

struct MemoryItem {
  Tier tier = Tier::host;
  int device = 0;     // of the device tier
  std::string label;  // "weights", "vectors", "ring", "kv", ... as charged
  uint64_t bytes = 0;
};

struct MemoryPlan {
  WeightPlan weights;
  KvLayout kv;
  std::vector<MemoryItem> items;
  uint64_t total[kTiers] = {};
  std::vector<uint64_t> device_total;  // by device
  // Sizes the engine needs to lay things out; all bytes are multiples of 64.
  uint64_t ring_slot_bytes = 0;  // a panel plus alignment room; streaming from disk
  int ring_slots = 0;            // host ring
  int device_ring_slots = 0;     // accelerator: slots of the same size in device memory
  int gather_slots = 2;          // embedding rows of a micro-batch, on either side
  // Of each sweep in flight:
  int64_t sweep_tokens = 0;
  int64_t logit_rows = 0;  // rows of the logits buffer [logit_rows, vocab] for sampling
  int64_t head_rows = 0;   // rows of one sweep that may want logits or a score (picked, projected)
  int64_t head_columns =
      0;  // widest head chunk: scoring works on [micro_batch_tokens, head_columns]
  // Of all together; each device has the pages of its layers, and slots of its own.
  int64_t kv_blocks = 0;          // pages where the device computes
  int64_t kv_host_blocks = 0;     // accelerator: pages in host memory
  int64_t kv_host_sequences = 0;  // of max_sequences, those with pages in host memory below
  int64_t kv_disk_sequences = 0;  // and those with pages on disk
  uint64_t kv_disk_bytes = 0;     // spill file for KV
  int kv_staging_slots = 0;       // host buffers for disk-resident KV
  uint64_t kv_staging_bytes = 0;  // each
  int device_kv_slots = 0;        // accelerator: buffers for pages that come up
  uint64_t device_kv_bytes = 0;   // each
  ExchangeLayout exchange;        // accelerator: q, k, v and attended of a micro-batch
  int exchange_slots = 0;         // on either side
  // Of each sweep in flight, on every device:
  int64_t hidden_tokens = 0;       // rows of the residual stream where the device computes
  int64_t hidden_host_tokens = 0;  // accelerator: rows in host memory between visits
  int64_t hidden_disk_tokens = 0;  // rows that live in the spill file between visits
  // Of all:
  int activation_slots = 0;       // buffers [micro_batch_tokens, hidden] where a device computes
  int activation_host_slots = 0;  // accelerator: for those on disk
};

// Pages that a sequence keeps below are cut at multiples of this: a page, or what host attention
// can hand over.
int kv_cut_pages(const ResolvedPolicy& policy);
// The program as this policy runs it.
const Program& program_of(const PlanInput& input, const ResolvedPolicy& policy);

// The plan of a complete policy: no search, no refusal. total[] may exceed the budgets.
MemoryPlan memory_plan(const PlanInput& input, const ResolvedPolicy& policy);

struct Chosen {
  ResolvedPolicy policy;
  MemoryPlan memory;
  std::string why;  // one sentence: the bottleneck and the numbers
};

// The built-in greedy policy: fills what `wanted` leaves open and fits the budgets. Throws
// Error(budget) naming the tier, what was given and the smallest figure that works;
// Error(invalid_argument) for a field that cannot hold on this device.
Chosen choose_policy(const PlanInput& input, const Policy& wanted);

}  // namespace penstock
