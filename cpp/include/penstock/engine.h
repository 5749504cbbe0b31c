// The public C++ API: an engine that generates from, and scores, token ids with a model that may be
// larger than memory. Not thread safe: one thread calls one engine. Every call may throw ApiError;
// nothing aborts the process.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "penstock/error.h"

namespace penstock {

// Sizes are bytes. Empty strings and zeros mean "choose for me".
struct EngineOptions {
  std::string model;           // a Hugging Face folder, or "dummy:NAME"
  std::string device = "cpu";  // "cpu", "cpu:avx2", "virtual", "cuda:0"; several accelerators of
                               // one kind make a pipeline: "cuda:0,cuda:1", "virtual,virtual"
  uint64_t host_memory =
      0;  // hard ceiling on everything the engine holds in RAM; 0: 80 % of what is available
  std::vector<uint64_t> device_memory;  // ceiling on each accelerator's: one figure for all, or
                                        // one each; empty or 0: most of what a GPU has free,
                                        // 1 GiB of a virtual one
  std::string disk;              // folder for spilled KV and activations; empty: nothing is spilled
  uint64_t disk_memory = 0;      // ceiling on spilled bytes
  std::string weights = "auto";  // "auto" (as published), "fp32", "fp16", "bf16", "int8",
                                 // "int8-g128", "int4", "int4-g32", ...
  std::string kv = "auto";       // "auto", "fp32", "fp16", "bf16", "int8", "int4"
  std::string compute = "fast";  // activations beside quantised weights: "fast" (int8), "exact"
                                 // (fp32), "weight_only" (16 bits; CUDA)
  bool invariant = true;         // no bit of a request's results depends on the others beside it.
                                 // false: "weight_only" products of many rows may go through
                                 // cuBLASLt, where a GPU has it; nothing else changes
  std::string policy;            // JSON text of a policy; empty: the built-in one
  std::string machine;           // JSON text of a machine (penstock/probe.h); empty: modest figures
  std::string throttle;          // JSON text of a machine: lanes are no faster than the rates that
                                 // stand in it; the same results, for measuring
  std::string cache;             // folder for packed weights; empty: MODEL/.penstock when writable
  std::string cublaslt;          // GPUs: path of libcublasLt for dense 16-bit products; empty: as
                                 // the loader finds it, if at all; "off": our own kernels
  int threads = 0;               // 0: one per core
  bool pin_threads = false;      // each compute thread stays on one of the process's cores
  int max_context = 0;           // tokens a row may have; 0: the model's own limit
  uint64_t reserved_host_memory = 0;  // part of host_memory used by the caller (tokenizer)
  // What is coming, for the policy; zeros: unknown.
  int64_t expected_rows = 0, mean_prompt = 0, max_prompt = 0, mean_new = 0, max_new = 0;
  uint64_t delay_seed = 0;  // virtual: seeded random delays on every lane
  uint64_t dummy_seed = 1;  // "dummy:NAME": seed of the weights
};

struct Sampling {
  int max_tokens = 16;
  int min_tokens = 0;
  double temperature = 1.0;  // 0: greedy
  int top_k = 0;             // 0: off
  double top_p = 1.0, min_p = 0.0;
  double presence_penalty = 0.0, frequency_penalty = 0.0, repetition_penalty = 1.0;
  uint64_t seed = 0;  // the row's own
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  int logprobs = -1;  // -1: none; n: the chosen token's and the n most likely
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::vector<int32_t> allowed_token_ids;  // empty: all
};

struct Request {
  std::vector<int32_t> tokens;
  Sampling sampling;
  bool score =
      false;  // log-probability of every prompt token given those before it; generates nothing
  bool prompt_logprobs = false;  // the same, but generation goes on
  bool all_logits = false;       // full logits of every position (Engine::logits)
  // Tokens it is likely to generate, where max_tokens is only a ceiling; 0: max_tokens. It decides
  // how many rows are in flight together, and changes no result.
  int expected_new = 0;
};

struct TokenChoice {
  int32_t token = -1;
  float logprob = 0;                           // only when asked for
  std::vector<std::pair<int32_t, float>> top;  // (token, logprob), best first
};

struct Event {
  uint64_t request = 0;
  std::vector<TokenChoice> tokens;  // generated in this step (at most one today)
  std::vector<float>
      prompt_logprobs;  // when the prompt has been read: one per prompt token, the first is 0
  bool finished = false;
  std::string finish_reason;  // "length", "stop" (end of text or stop id), "score"
};

struct LaneReport {
  double busy_seconds = 0;
  uint64_t bytes = 0, tasks = 0;
};

struct Stats {
  double seconds = 0;  // in step()
  double busiest_seconds =
      0;  // sum over sweeps of that sweep's busiest lane: what no overlap saves
  // prompt_tokens: computed; shared_tokens: prompt tokens whose keys and values another row has
  // computed.
  uint64_t sweeps = 0, prompt_tokens = 0, shared_tokens = 0, generated_tokens = 0;
  std::map<std::string, LaneReport> lanes;          // "compute", "disk_read", ...
  std::map<std::string, uint64_t> predicted_bytes;  // by lane, summed over the schedules that ran
  std::map<std::string, uint64_t> peak_bytes, budget_bytes;  // by tier: "host", "device", "disk"
  std::map<std::string, uint64_t> host_items;                // peak by label
  uint64_t active = 0, waiting = 0;                          // requests
};

// A row of a job, for predictions.
struct RowTokens {
  int64_t prompt = 1;
  int64_t fresh = 1;            // to be generated; 0: the row is scored
  std::vector<int32_t> tokens;  // the prompt, for what rows share; empty: they share nothing
  // It wants more of its logits than a token drawn from them (log-probabilities, penalties, a bias,
  // allowed tokens), so they cross from an accelerator to the host.
  bool logits = false;
};

// Called while weights are quantised into the cache: bytes written so far, and bytes in all. The
// first call comes before the first byte, the last one after the last. An exception of the call
// ends the work, leaves no file behind and goes to the caller of Engine().
using PackProgress = std::function<void(uint64_t done_bytes, uint64_t total_bytes)>;

class Engine {
 public:
  explicit Engine(const EngineOptions& options, const PackProgress& packing = {});
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  // Checks the request against the model and the context limit; throws ApiError(invalid_argument)
  // and is unchanged then.
  uint64_t submit(const Request& request);
  // One sweep over the layers for everything in flight; returns what is new. Empty when nothing is
  // left to do.
  std::vector<Event> step();
  bool idle() const;              // no request active or waiting
  void cancel(uint64_t request);  // its place is free at the next step; unknown ids are ignored
  // Logits of every position of one sequence: row-major [tokens, vocab]. Runs on its own: throws if
  // requests are in flight.
  std::vector<float> logits(const std::vector<int32_t>& tokens);

  Stats stats() const;
  // JSON: what these rows will take, if each ends where it is said to: seconds and bytes by lane,
  // peaks, tokens per second, from the very sweeps that would run and the rates of
  // EngineOptions::machine. Rows beyond `most_rows` (0: none are) are extrapolated.
  std::string predict(const std::vector<RowTokens>& rows, int64_t most_rows = 0) const;
  std::string describe() const;  // JSON: model, formats, policy, why, memory by item
  int vocab() const;
  int max_context() const;
  void record_trace(bool on);
  std::string take_trace();  // Chrome / Perfetto JSON of the events since

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What Engine::describe() of an engine with these options would say of model, formats, policy and
// memory, from config.json alone: no weights are read, none need be there. With a `prediction` for
// these rows, or for the rows that the options expect. Throws ApiError.
std::string plan(const EngineOptions& options, const std::vector<RowTokens>& rows = {});

// Names accepted by "dummy:NAME", and of one of them: the config.json text, and name and shape of
// every tensor of its checkpoint.
std::vector<std::string> dummy_names();
std::string dummy_config(const std::string& name);
std::vector<std::pair<std::string, std::vector<int64_t>>> dummy_weights(const std::string& name);

}  // namespace penstock
