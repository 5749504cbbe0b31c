#include "schedule/build.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "schedule/cases.h"
#include "schedule/check.h"

namespace penstock {
namespace {

constexpr int kSeeds = 400;

std::string text(const std::vector<Finding>& findings) {
  std::string all;
  for (const Finding& f : findings) all += "step " + std::to_string(f.step) + " " + f.what + "\n";
  return all;
}

TEST(BuildSweep, RandomSweepsAreClean) {
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Case made = random_case(seed);
    const std::vector<Schedule> sweeps = build_all(made);
    const auto findings =
        check_schedules(pointers(sweeps), made.visits, made.program, made.options);
    ASSERT_TRUE(findings.empty()) << "seed " << seed << "\n" << text(findings);
  }
}

TEST(BuildSweep, IdsAreConsecutiveAndAfterIsSmaller) {
  for (int seed = 0; seed < 50; ++seed) {
    uint64_t next = 1;
    for (const Schedule& sweep : build_all(random_case(seed))) {
      EXPECT_EQ(sweep.first_id, next);
      for (const Step& step : sweep.steps) {
        ASSERT_EQ(step.id, next++);
        for (uint64_t id : step.after) ASSERT_LT(id, step.id);
        const std::set<uint64_t> once(step.after.begin(), step.after.end());
        EXPECT_EQ(once.size(), step.after.size());
        EXPECT_FALSE(once.contains(0));
      }
    }
  }
}

// Which steps of a sweep there are, counted without the builder: (kind, visit, batch or panel) ->
// bytes.
using Wanted = std::map<std::tuple<StepKind, int, int>, uint64_t>;

void want_below(int v, int b, const BatchShape& batch, Wanted* wanted) {
  auto& all = *wanted;
  if (batch.kv_upload_bytes > 0) all[{StepKind::kv_upload, v, b}] = batch.kv_upload_bytes;
  if (batch.exchange_down_bytes > 0) {
    all[{StepKind::exchange_download, v, b}] = batch.exchange_down_bytes;
    all[{StepKind::host_attention, v, b}] = batch.host_attention_bytes;
  }
  if (batch.exchange_up_bytes > 0) {
    all[{StepKind::exchange_upload, v, b}] = batch.exchange_up_bytes;
  }
}

void want_hidden(const Case& made, int v, int b, const BatchShape& batch, Wanted* wanted) {
  const Visit& visit = made.visits[v];
  const bool head = made.head(visit);
  const bool away = batch.activations_on_disk || batch.activations_on_host;
  if (!away && made.moves_on(v)) (*wanted)[{StepKind::hidden_send, v, b}] = batch.hidden_bytes;
  if (!away || (head && !visit.first_chunk)) return;
  const bool joined = made.joined(v), joins_next = !head && made.joined(v + 1);
  const bool comes = v > 0 && !joined;
  const bool more = batch.head_rows > 0 || !made.head(made.visits[v + 1]);
  const bool goes = !head && more && !joins_next;
  const int front = joined ? v - 1 : v;  // the visit that the steps name
  auto& all = *wanted;
  if (batch.activations_on_disk && comes) {
    all[{StepKind::activation_read, v, b}] = batch.activation_bytes;
  }
  if (batch.activations_on_disk && goes) {
    all[{StepKind::activation_write, front, b}] = batch.activation_bytes;
  }
  if (!made.options.accelerator) return;
  if (comes) all[{StepKind::activation_upload, v, b}] = batch.activation_move_bytes;
  if (goes) all[{StepKind::activation_download, front, b}] = batch.activation_move_bytes;
}

void want_batch(const Case& made, int v, int b, const BatchShape& batch, Wanted* wanted) {
  const Visit& visit = made.visits[v];
  const ModuleKind kind = made.program.modules[visit.module].kind;
  const bool head = kind == ModuleKind::head;
  if (head && batch.head_rows == 0) return;
  auto& all = *wanted;
  all[{StepKind::compute, v, b}] = 0;
  if (kind == ModuleKind::embed) all[{StepKind::embed_gather, v, b}] = batch.gather_disk_bytes;
  if (kind == ModuleKind::embed && made.options.accelerator) {
    all[{StepKind::embed_upload, v, b}] = batch.gather_upload_bytes;
  }
  if (kind == ModuleKind::attention && batch.kv_read_bytes > 0) {
    all[{StepKind::kv_read, v, b}] = batch.kv_read_bytes;
  }
  if (kind == ModuleKind::attention && batch.kv_write_bytes > 0) {
    all[{StepKind::kv_write, v, b}] = batch.kv_write_bytes;
  }
  if (kind == ModuleKind::attention && made.options.accelerator) want_below(v, b, batch, wanted);
  if (head && visit.last_chunk && batch.logits_bytes > 0) {
    all[{StepKind::logits_download, v, b}] = batch.logits_bytes;
  }
  want_hidden(made, v, b, batch, wanted);
}

Wanted wanted_steps(const Case& made, const std::vector<BatchShape>& batches) {
  Wanted wanted;
  for (int v = 0; v < static_cast<int>(made.visits.size()); ++v) {
    const Visit& visit = made.visits[v];
    bool runs = false;
    for (int b = 0; b < static_cast<int>(batches.size()); ++b) {
      runs |= !made.head(visit) || batches[b].head_rows > 0;
      want_batch(made, v, b, batches[b], &wanted);
    }
    for (int p = 0; runs && p < static_cast<int>(visit.panels.size()); ++p) {
      const Panel& panel = visit.panels[p];
      if (panel.home == Tier::disk) wanted[{StepKind::panel_read, v, p}] = panel.bytes;
      if (made.options.accelerator && panel.home != Tier::device) {
        wanted[{StepKind::panel_upload, v, p}] = panel.upload_bytes;
      }
    }
  }
  return wanted;
}

TEST(BuildSweep, EverySweepHasExactlyItsSteps) {
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Case made = random_case(seed);
    const std::vector<Schedule> sweeps = build_all(made);
    std::vector<Wanted> found(sweeps.size() + 1);
    for (size_t s = 0; s < sweeps.size(); ++s) {
      for (const Step& step : sweeps[s].steps) {
        Wanted& of = found[s + (step.ahead ? 1 : 0)];
        const int which = step.panel >= 0 ? step.panel : step.batch;
        ASSERT_TRUE(of.emplace(std::tuple{step.kind, step.visit, which}, step.bytes).second)
            << "twice, seed " << seed;
      }
    }
    EXPECT_TRUE(found.back().empty()) << "the last sweep prefetches nothing";
    for (size_t s = 0; s < sweeps.size(); ++s) {
      ASSERT_EQ(found[s], wanted_steps(made, made.sweeps[s])) << "seed " << seed << " sweep " << s;
    }
  }
}

TEST(BuildSweep, TooFewSlotsAreAnInternalError) {
  int refused = 0;
  for (int seed = 0; seed < 200; ++seed) {
    Case made = random_case(seed);
    if (made.options.accelerator || made.most_streamed() < 2) continue;
    made.options.host_ring_slots = made.most_streamed() - 1;
    bool streams = false;  // a skipped head does not need its panels
    for (const Visit& visit : made.visits) {
      streams |= !made.head(visit) && made.streamed(visit) > made.options.host_ring_slots;
    }
    if (!streams) continue;
    ++refused;
    try {
      build_all(made);
      FAIL() << "seed " << seed;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::internal);
    }
  }
  EXPECT_GT(refused, 50);
}

Case layers(int count, int attention_panels, int mlp_panels) {
  Case made;
  const auto add = [&](ModuleKind kind, int panels) {
    made.program.modules.push_back({.kind = kind, .layer = 0, .ops = {}, .matrices = {}});
    Visit visit;
    visit.module = static_cast<int>(made.program.modules.size()) - 1;
    visit.panels.assign(panels, {0, 0, 16, Tier::disk, 1000, 1000});
    made.visits.push_back(visit);
  };
  add(ModuleKind::embed, 0);
  for (int i = 0; i < count; ++i) {
    add(ModuleKind::attention, attention_panels);
    add(ModuleKind::mlp, mlp_panels);
  }
  add(ModuleKind::head, mlp_panels);
  made.options.gather_slots = 2;
  return made;
}

TEST(BuildSweep, LoadsAreSpreadOverTheMicroBatchesBefore) {
  Case made = layers(6, 8, 8);
  made.options.host_ring_slots = 16;
  made.options.lookahead = 1;
  made.sweeps.assign(1, std::vector<BatchShape>(4, BatchShape{.tokens = 4, .head_rows = 1}));
  const std::vector<Schedule> sweeps = build_all(made);
  // Panels of visit 5 that are submitted between two micro-batches of visit 4.
  std::map<int, int> loads;
  int computed = 0;
  for (const Step& step : sweeps[0].steps) {
    if (step.kind == StepKind::compute && step.visit == 4) ++computed;
    if (step.kind == StepKind::panel_read && step.visit == 5) ++loads[computed];
  }
  EXPECT_EQ(loads, (std::map<int, int>{{0, 2}, {1, 2}, {2, 2}, {3, 2}}));
}

TEST(BuildSweep, PrefetchesTheNextSweep) {
  Case made = layers(3, 2, 4);
  made.options.host_ring_slots = 12;
  made.options.lookahead = 2;
  made.sweeps.assign(2, std::vector<BatchShape>(2, BatchShape{.tokens = 4, .head_rows = 1}));
  const std::vector<Schedule> sweeps = build_all(made);
  int ahead = 0;
  for (const Step& step : sweeps[0].steps) ahead += step.ahead;
  EXPECT_EQ(ahead, 6);  // one attention and one mlp visit
  for (const Step& step : sweeps[1].steps) EXPECT_FALSE(step.ahead);
}

TEST(BuildSweep, AheadNeverNeedsAHeadThatMayBeSkipped) {
  Case made = layers(1, 2, 2);
  made.options.host_ring_slots = 40;
  made.options.lookahead = 50;
  made.sweeps.assign(3, std::vector<BatchShape>(2, BatchShape{.tokens = 4, .head_rows = 1}));
  for (BatchShape& batch : made.sweeps[1]) batch.head_rows = 0;  // only prompts in the middle
  const std::vector<Schedule> sweeps = build_all(made);
  EXPECT_TRUE(check_schedules(pointers(sweeps), made.visits, made.program, made.options).empty());
  for (const Step& step : sweeps[1].steps) EXPECT_TRUE(step.ahead || step.visit != 3);
}

}  // namespace
}  // namespace penstock
