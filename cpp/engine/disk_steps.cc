#include "engine/disk_steps.h"

#include <memory>
#include <utility>

namespace penstock {
namespace {

// Lives between the two halves of a task.
std::shared_ptr<AsyncIo::Handle> new_handle() { return std::make_shared<AsyncIo::Handle>(); }

}  // namespace

Ticket DiskSteps::submit(const StepCall& call, LaneTask task) const {
  return parts_.context->lanes.submit(call.step.lane, std::move(task));
}

Ticket DiskSteps::read_panel(const StepCall& call) const {
  std::byte* target = places_.slot(call.step, SlotKind::host_ring);
  const Panel* source = &places_.panel(call.step);
  const auto handle = new_handle();
  LaneTask work = call.task();
  work.begin = [this, source, target, handle] {
    const Transfer transfer = parts_.store->read_transfer(*source, target);
    *handle = parts_.context->io.start({&transfer, 1});
  };
  work.finish = [this, source, target, handle] {
    parts_.context->io.wait(*handle);
    parts_.store->finish_read(*source, target);
  };
  return submit(call, std::move(work));
}

Ticket DiskSteps::gather(const StepCall& call) const {
  const BatchBinding& batch = call.sweep.binding.batch(call.step.batch);
  std::byte* target = places_.slot(call.step, SlotKind::gather);
  const auto handle = new_handle();
  LaneTask work = call.task();
  work.begin = [this, &batch, target, handle] {
    std::vector<Transfer> transfers;
    parts_.store->gather(parts_.weights->find(Role::token_embed), batch.token_ids, target,
                         transfers);
    const int positions = parts_.weights->find(Role::position_embed);
    if (positions >= 0) {
      std::vector<int32_t> ids = batch.positions;
      for (int32_t& id : ids) id += parts_.spec->position_offset;
      parts_.store->gather(positions, ids, target + staging_.gather_positions_offset(), transfers);
    }
    *handle = parts_.context->io.start(transfers);
  };
  work.finish = [this, handle] { parts_.context->io.wait(*handle); };
  return submit(call, std::move(work));
}

Ticket DiskSteps::read_kv(const StepCall& call) const {
  std::byte* target = places_.slot(call.step, SlotKind::kv);
  const auto handle = new_handle();
  LaneTask work = call.task();
  const SweepBinding& pages = call.sweep.binding;
  const int batch = call.step.batch, layer = places_.layer(call.step);
  work.begin = [this, &pages, batch, layer, target, handle] {
    *handle = parts_.context->io.start(pages.page_reads(batch, layer, target));
  };
  work.finish = [this, &pages, batch, layer, target, handle] {
    parts_.context->io.wait(*handle);
    pages.verify_pages(batch, layer, target);
  };
  return submit(call, std::move(work));
}

Ticket DiskSteps::write_kv(const StepCall& call) const {
  std::byte* source = places_.slot(call.step, SlotKind::kv);
  LaneTask work = call.task();
  SweepBinding& pages = call.sweep.binding;
  const int batch = call.step.batch, layer = places_.layer(call.step);
  work.begin = [this, &pages, batch, layer, source] {
    const auto handle = parts_.context->io.start(pages.page_writes(batch, layer, source));
    parts_.context->io.wait(handle);
    pages.keep_tails(batch, layer, source);
  };
  return submit(call, std::move(work));
}

Ticket DiskSteps::spill_hidden(const StepCall& call, bool write) const {
  float* rows = parts_.context->accelerator() ? places_.host_hidden(call) : places_.hidden(call);
  const uint64_t own = call.sweep.binding.batch(call.step.batch).plan->activation_unit;
  const uint64_t unit = parts_.activations->unit(call.sweep.number, own);
  LaneTask work = call.task();
  work.begin = [this, rows, unit, write] {
    SpillFile& spill = parts_.activations->spill();
    auto* data = reinterpret_cast<std::byte*>(rows);
    if (write) spill.seal(unit, data);
    Transfer transfer;
    transfer.file = &spill.file();
    transfer.data = data;
    transfer.bytes = spill.unit_bytes();
    transfer.offset = spill.offset(unit);
    transfer.write = write;
    parts_.context->io.wait(parts_.context->io.start({&transfer, 1}));
    if (!write) spill.verify(unit, data);
  };
  return submit(call, std::move(work));
}

}  // namespace penstock
