// A model opened for running: what it is, where its weights come from and in which formats they
// will be held. Nothing is loaded yet.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/catalogue.h"
#include "checkpoint/packed_cache.h"
#include "model/config.h"
#include "model/program.h"
#include "penstock/engine.h"
#include "store/row_source.h"

namespace penstock {

enum class WeightFiles { needed, not_needed };

class Model {
 public:
  // Reads config.json and, when they are needed, the headers of the shards, and checks every
  // tensor. Without them weights have the dtype of the config. Throws Error.
  Model(const EngineOptions& options, WeightFiles files);

  const ModelSpec& spec() const { return config_.spec; }
  const WeightList& weights() const { return *weights_; }
  const Program& program(AttentionForm form) const {
    return form == AttentionForm::within ? program_ : apart_;
  }
  const std::vector<FormatId>& formats() const { return formats_; }  // by weight id
  FormatId kv() const { return kv_; }
  Compute compute() const { return compute_; }
  const RowSource& source() const { return *source_; }
  std::vector<std::string> warnings() const;

  // Packs quantised weights into the cache folder, or opens them there. Null when there are none,
  // or nothing to read them from.
  const PackedCache* open_packed(const EngineOptions& options, int threads, Budget& host,
                                 const PackProgress& progress);

 private:
  void open_folder(const EngineOptions& options, WeightFiles files);
  void check_tied_head(const std::string& folder) const;
  void choose_formats(const EngineOptions& options);
  std::vector<PackSource> pack_sources() const;

  ModelConfig config_;
  std::optional<Catalogue> catalogue_;
  std::unique_ptr<RowSource> source_;
  std::unique_ptr<WeightList> weights_;
  Program program_, apart_;  // the same work, cut in two ways
  std::vector<FormatId> formats_;
  FormatId kv_ = 0;
  Compute compute_ = Compute::fast;
  std::optional<PackedCache> packed_;
};

}  // namespace penstock
