// Seconds of one step on a machine: what the simulator asks. Work is counted from the program that
// runs, visit by visit; rates are the machine's.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "plan/memory_plan.h"
#include "schedule/build.h"

namespace penstock {

class StepCost {
 public:
  // All arguments must outlive this.
  StepCost(const PlanInput& input, const ResolvedPolicy& policy, const WeightPlan& weights);

  double seconds(const Step& step, const std::vector<BatchShape>& batches) const;
  // Arithmetic of a whole sweep over these micro-batches.
  double flops(const std::vector<BatchShape>& batches) const;

 private:
  struct Product {      // one weight in one visit
    std::string rate;   // product_name() it is measured as
    double flops = 0;   // of one row
    double bytes = 0;   // of the weight
    bool head = false;  // rows that want logits
  };
  struct VisitWork {
    std::vector<Product> products;
    double other_flops = 0, other_head_flops = 0;  // of one row
    bool attention = false;
  };

  VisitWork work_of(const Visit& visit, const Program& program) const;
  double compute_seconds(int visit, const BatchShape& batch) const;
  double products_seconds(const VisitWork& work, const BatchShape& batch) const;
  double product_seconds(const Product& product, double rows) const;
  double attention_seconds(const BatchShape& batch) const;

  const PlanInput& input_;
  std::vector<VisitWork> visits_;
  // Of the products of a visit, by visit, rows and head rows: they are asked for again and again.
  using Rows = std::tuple<int64_t, int64_t>;
  mutable std::vector<std::map<Rows, double>> known_;
  double key_bytes_ = 0;  // K and V of one position, one layer
  double key_flops_ = 0;  // of attending to one position, one layer
};

}  // namespace penstock
