#include "engine/model.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>

#include "base/error.h"
#include "io/file.h"

namespace penstock {

namespace {

constexpr std::string_view kDummy = "dummy:";
constexpr uint64_t kCompareBytes = uint64_t{1} << 20;
constexpr std::string_view kCacheVersion = "1";

std::string config_path(const std::string& folder) { return folder + "/config.json"; }

bool writable_folder(const std::string& path) {
  std::error_code ignored;
  const auto permissions = std::filesystem::status(path, ignored).permissions();
  return (permissions & std::filesystem::perms::owner_write) != std::filesystem::perms::none;
}

}  // namespace

Model::Model(const EngineOptions& options, WeightFiles files) {
  compute_ = parse_compute(options.compute);
  if (options.model.starts_with(kDummy)) {
    const std::string name = options.model.substr(kDummy.size());
    config_ = parse_config(shape_config(name), options.model);
    weights_ = std::make_unique<WeightList>(config_.spec, *config_.family);
    source_ = make_random_source(config_.spec.dtype, options.dummy_seed);
  } else {
    open_folder(options, files);
  }
  program_ = make_program(config_.spec, *weights_, AttentionForm::within);
  apart_ = make_program(config_.spec, *weights_, AttentionForm::apart);
  choose_formats(options);
}

void Model::open_folder(const EngineOptions& options, WeightFiles files) {
  const std::string& folder = options.model;
  config_ =
      parse_config(read_small_file(config_path(folder), kMaxConfigBytes), config_path(folder));
  if (files == WeightFiles::not_needed) {
    weights_ = std::make_unique<WeightList>(config_.spec, *config_.family);
    source_ = make_random_source(config_.spec.dtype, 0);  // for its dtype: nothing is read
    return;
  }
  catalogue_.emplace(Catalogue::open(folder, true));
  const auto exists = [&](std::string_view name) { return catalogue_->contains(name); };
  weights_ = std::make_unique<WeightList>(config_.spec, *config_.family, exists);
  const auto shape_of = [&](const std::string& name) -> std::vector<int64_t> {
    return catalogue_->contains(name) ? catalogue_->find(name).shape : std::vector<int64_t>{};
  };
  check_weights(*weights_, catalogue_->names(), shape_of, folder);
  source_ = make_file_source(*catalogue_);
  check_tied_head(folder);
}

// A tied model may carry the head a second time; only if it is the same, byte for byte, is it clear
// what to compute with.
void Model::check_tied_head(const std::string& folder) const {
  const std::string& twin = weights_->tied_twin();
  if (twin.empty() || !catalogue_->contains(twin)) return;
  const std::string& name = weights_->at(weights_->find(Role::token_embed)).name;
  const TensorLocation& a = catalogue_->find(name);
  const TensorLocation& b = catalogue_->find(twin);
  bool same = a.dtype == b.dtype && a.shape == b.shape;
  std::vector<std::byte> left(kCompareBytes), right(kCompareBytes);
  for (uint64_t done = 0; same && done < a.bytes; done += kCompareBytes) {
    const uint64_t bytes = std::min(kCompareBytes, a.bytes - done);
    a.file->read_unaligned(left.data(), bytes, a.offset + done);
    b.file->read_unaligned(right.data(), bytes, b.offset + done);
    same = std::memcmp(left.data(), right.data(), bytes) == 0;
  }
  if (same) return;
  throw Error(
      ErrorCode::malformed,
      "the model uses its embedding as its head, but the checkpoint holds a head that differs",
      {.file = folder, .field = twin, .found = "other values than " + name});
}

void Model::choose_formats(const EngineOptions& options) {
  const bool automatic = options.weights == "auto";
  const FormatId wanted = automatic ? FormatId{} : weight_format(options.weights);
  for (const WeightInfo& info : weights_->all()) {
    const FormatId own = raw_format(source_->dtype(info));
    if (automatic || info.kind != WeightKind::matrix) {
      formats_.push_back(own);
    } else if (format(wanted).quantised() || wanted == own) {
      formats_.push_back(wanted);
    } else {
      throw Error(ErrorCode::unsupported, "weights can be kept as published, or quantised",
                  {.file = options.model,
                   .field = "weights",
                   .found = options.weights,
                   .allowed = "auto, " + std::string(format(own).name) +
                              ", int8, int8-g32/64/128, int4-g32/64/128"});
    }
  }
  kv_ = options.kv == "auto" ? kv_format(dtype_name(config_.spec.dtype)) : kv_format(options.kv);
}

std::vector<std::string> Model::warnings() const {
  return catalogue_ ? catalogue_->warnings() : std::vector<std::string>{};
}

std::vector<PackSource> Model::pack_sources() const {
  std::vector<PackSource> sources;
  for (const WeightInfo& info : weights_->all()) {
    if (!format(formats_[info.id]).quantised()) continue;
    PackSource& source = sources.emplace_back();
    source.name = info.name;
    source.format = formats_[info.id];
    source.rows = info.rows;
    source.k = info.cols;
    source.read_rows = [this, &info](int64_t begin, int64_t end, float* out) {
      source_->read_floats(info, begin, end, out);
    };
  }
  return sources;
}

const PackedCache* Model::open_packed(const EngineOptions& options, int threads, Budget& host,
                                      const PackProgress& progress) {
  const std::vector<PackSource> sources = pack_sources();
  if (sources.empty() || !catalogue_) return nullptr;
  PackOptions pack;
  pack.folder = options.cache;
  if (pack.folder.empty()) {
    if (!writable_folder(options.model)) {
      throw Error(ErrorCode::invalid_argument,
                  "the model folder cannot be written to; name a folder for packed weights",
                  {.file = options.model, .field = "cache"});
    }
    pack.folder = options.model + "/.penstock";
  }
  pack.key = catalogue_->fingerprint() + "-" + options.weights + "-v" + std::string(kCacheVersion);
  pack.threads = threads;
  if (progress) pack.progress = std::cref(progress);
  packed_.emplace(PackedCache::open_or_pack(pack, sources, host));
  return &*packed_;
}

}  // namespace penstock
