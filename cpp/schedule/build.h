// Makes the steps of one sweep. This is the only loop nest over visits and micro-batches in the
// project; look-ahead, overlap and every slot are decided here, the executor decides nothing.
//
// How far ahead: panels of the next `lookahead` visits are submitted a few at a time between the
// micro-batches of the current one, as far as their slots have been given back; KV and activations
// as far as their slots allow. Lanes are in order, so everything is submitted in the order in which
// it will be wanted. A slot is taken in turn (counter % slots).
//
// With attention apart (a Program of that form), the mlp visit of a layer and the attention visit
// of the next one are joined: each micro-batch passes both before the next micro-batch does. So
// between a micro-batch's attention and what follows it lies the work of all others, and that is
// the time which host attention has.
//
// With several devices a sweep goes through them in turn: visits name theirs, and hidden rows that
// are kept where the model computes are sent on. Sweeps of different rows follow each other
// closely, so that each device has one of them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "plan/placement.h"
#include "schedule/step.h"

namespace penstock {

// What the builder must know of a micro-batch. Bytes are per visit.
struct BatchShape {
  int64_t tokens = 0;
  int64_t head_rows = 0;             // rows that want logits; 0: skips the head
  uint64_t gather_disk_bytes = 0;    // embedding rows read from disk
  uint64_t gather_upload_bytes = 0;  // accelerator: embedding rows sent to the device
  uint64_t hidden_bytes = 0;         // of the rows where it computes: sent to the next device
  uint64_t kv_read_bytes = 0;        // pages of disk-resident sequences, one layer
  uint64_t kv_write_bytes = 0;       // pages that get full in this sweep, one layer
  bool kv_on_disk = false;           // has disk-resident pages at all: needs a staging slot
  bool activations_on_disk = false;
  uint64_t activation_bytes = 0;  // on disk: the unit of this micro-batch
  uint64_t logits_bytes = 0;      // accelerator: downloaded after the last head visit
  // Accelerator:
  bool activations_on_host = false;
  uint64_t activation_move_bytes = 0;  // on host or disk: hidden rows, each way
  bool kv_staged = false;              // needs a device slot for pages from below
  uint64_t kv_upload_bytes = 0;        // one layer
  uint64_t exchange_down_bytes = 0;    // rows of q, k, v that the host needs; 0: none
  uint64_t exchange_up_bytes = 0;      // what host attention gives back; 0: it only stores
  uint64_t host_attention_bytes = 0;   // keys and values that host attention reads
  // What attention costs where the model computes, one layer: keys of decoding rows; of prompts,
  // the sum over tokens of the keys they attend to.
  int64_t decode_keys = 0, prompt_keys = 0;
};

struct BuildOptions {
  bool accelerator = false;
  int devices = 1;  // accelerators; each has slots of its own, as many as the others
  int host_ring_slots = 0, device_ring_slots = 0;
  int gather_slots = 0, kv_slots = 0, activation_slots = 0;
  int device_kv_slots = 0, exchange_slots = 0, device_activation_slots = 0;
  // Visits with streamed panels beyond the current one that may be loading; at least 1.
  int lookahead = 1;
  bool last_sweep = false;  // no prefetch for a sweep that will not come
  // For comparisons. overlap off: every step follows the one before. step_barrier: panels of the
  // next visit are all submitted with the first micro-batch, and whatever a micro-batch's turn has
  // submitted is over before the next turn begins.
  bool overlap = true, step_barrier = false;

  int slots(SlotKind kind) const;
};

// What one sweep leaves to the next: rings go on, so that the next sweep's first panels are already
// on their way.
struct Carry {
  uint64_t next_id = 1;
  struct Ring {
    int64_t next = 0;               // running counter, slot = counter % slots
    std::vector<uint64_t> release;  // by slot: step after which it is free (0: free)
  };
  std::vector<std::array<Ring, kSlotKinds>> rings;  // by device; of host slots, the first one's
  std::vector<uint64_t> kv_written;                 // by visit: last kv_write of that layer
  std::vector<uint64_t> host_attended;              // by visit: last host_attention of that layer
  // Panels of the next sweep already submitted, in stream order: step after which the panel may be
  // used, and its slot.
  struct Ahead {
    uint64_t ready = 0;
    int slot = 0;
  };
  std::vector<Ahead> ahead;
  std::vector<uint64_t> barrier;  // step_barrier, overlap off: what the next step follows
};

struct Built {
  Schedule schedule;
  Carry carry;
};

// `visits` and `modules` describe the sweep; `carry` is the previous sweep's. Throws
// Error(internal) when slots are too few for one visit.
Built build_sweep(const std::vector<Visit>& visits, const Program& program,
                  const std::vector<BatchShape>& batches, const BuildOptions& options,
                  const Carry& carry);

}  // namespace penstock
