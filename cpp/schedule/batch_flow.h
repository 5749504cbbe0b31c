// What the micro-batches of a sweep need beside weights, and what they leave: embedding rows, KV
// pages, hidden rows, and what crosses to host attention and back. Each is prepared as early as its
// slots allow, in the order in which it will be used.
#pragma once

#include <cstdint>
#include <vector>

#include "schedule/slot_ring.h"
#include "schedule/step_writer.h"

namespace penstock {

class BatchFlow {
 public:
  BatchFlow(const SweepFrame& frame, StepWriter& writer, const Carry& carry);

  // Before the turn of a micro-batch in a group: what it cannot do without, then what comes later
  // as far as slots allow. `next` is the micro-batch whose turn is next in this group, or -1.
  void require(int group, int batch);
  void prepare_ahead();
  void lead(int group, int next);
  // Slots of a compute step, and after it is emitted the steps that follow it.
  void use(int group, int position, Step* step);
  void follow_up(int group, int position, const Step& computed);
  void save(Carry* carry);

 private:
  // One stay of something in slots: who wants it, and once it is prepared, where it is and what its
  // reader follows.
  struct Use {
    int group = -1, position = -1, batch = -1;
    int slot = -1;         // CPU: where it computes; accelerator: in host memory
    int device_slot = -1;  // accelerator
    uint64_t ready = 0, device_ready = 0;
  };
  // In the order of use.
  struct Queue {
    std::vector<Use> uses;
    size_t prepared = 0, consumed = 0;
    bool wanted(int group, int batch) const {
      return consumed < uses.size() && uses[consumed].group == group &&
             uses[consumed].batch == batch;
    }
    Use& next() { return uses[prepared]; }
    bool left() const { return prepared < uses.size(); }
  };
  struct Exchange {  // of a micro-batch, from its attention to what follows it
    int device_slot = -1, host_slot = -1;
    uint64_t attended = 0;            // host_attention whose result still has to go up
    uint64_t read = 0, uploaded = 0;  // exchange_download, exchange_upload
    int position = -1;
  };

  bool accelerator() const { return frame_.options.accelerator; }
  const BatchShape& shape(int batch) const { return frame_.batches[batch]; }
  int device_of(const Step& step) const { return frame_.visits[step.visit].device; }
  int device_of(const Use& use) const { return frame_.device(use.position); }
  SlotRing& ring(SlotKind kind, int device) { return rings_[static_cast<int>(kind)].of(device); }
  SlotRing::Taken take(Step* step, SlotKind kind);
  void read(Step* step, SlotKind kind, int slot, bool release);

  void list_uses();
  void list_group(int group);
  bool can_prepare(const Queue& queue);
  void prepare(Queue& queue);
  void prepare_gather(Use& use);
  void prepare_kv(Use& use);
  void upload_kv(Use& use);
  void prepare_activation(Use& use);
  void upload_activation(Use& use, uint64_t read);
  bool needs_kv_slot(int batch) const;
  uint64_t old(const std::vector<uint64_t>& by_visit, int visit) const;
  bool hidden_ready(const Use& use) const;

  void use_gather(Step* step);
  void use_kv(Step* step);
  void use_activation(int group, int position, Step* step);
  void open_exchange(int position, Step* step);
  void close_exchange(Step* step);
  void write_kv(const Use& use, uint64_t after);
  void exchange(const Use* kv, int position, const Step& computed);
  void upload_exchange(int batch);
  void put_activation_away(const Use& use, uint64_t computed);
  bool is_sent_on(int group, int batch) const;
  void send_hidden(int position, const Step& computed);

  const SweepFrame& frame_;
  StepWriter& writer_;
  const Carry& old_;
  SlotRings rings_[kSlotKinds];
  Queue gather_, kv_, activation_;
  std::vector<Exchange> exchange_;  // by batch
  std::vector<int> last_hidden_;    // by batch: the last group its hidden rows pass
  std::vector<int> written_group_;  // by batch: after which its hidden rows were put away
  std::vector<uint64_t> written_;   // by batch: the step that did
  std::vector<uint64_t> sent_;      // by batch: rows on their way to the next device
  std::vector<uint64_t> kv_written_, host_attended_;  // by visit
};

}  // namespace penstock
