#include "checkpoint/catalogue.h"

#include <deque>
#include <functional>
#include <utility>

#include "base/error.h"
#include "checkpoint/digest.h"
#include "checkpoint/header_visitor.h"
#include "checkpoint/index.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/raw_dtype.h"
#include "checkpoint/safetensors.h"

namespace penstock {
namespace {

constexpr std::string_view kSingleName = "model.safetensors";
constexpr size_t kNamesInMessage = 1000;

struct ListedTensor {
  TensorLocation location;
  const RawDType* dtype = nullptr;
};

std::string join(const std::vector<std::string>& names, size_t limit) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), limit); ++i) {
    text += (i == 0 ? "" : ", ") + escape_for_message(names[i], 512);
  }
  if (names.size() > limit) text += " and " + std::to_string(names.size() - limit) + " more";
  return text;
}

[[noreturn]] void refuse_empty_folder(const ModelFolder& folder) {
  for (const char* suffix : {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}) {
    const std::vector<std::string> pickles = folder.with_suffix(suffix);
    if (pickles.empty()) continue;
    throw Error(ErrorCode::unsupported, "pickle files are not loaded",
                {.file = folder.path(),
                 .field = "",
                 .found = join(pickles, 10),
                 .allowed = "safetensors files; convert the model first"});
  }
  const std::vector<std::string> others = folder.with_suffix(".safetensors");
  throw Error(
      ErrorCode::not_found,
      "no model weights in the folder" + folder.hint_about_missing(kSingleName),
      {.file = folder.path(),
       .field = "",
       .found = others.empty() ? "no .safetensors file" : join(others, 10) + " without an index",
       .allowed = std::string(kIndexName) + " or " + std::string(kSingleName)});
}

std::string read_index(const ModelFolder& folder, const FaultSeam* seam) {
  const File file = folder.open(kIndexName, false, seam);
  if (file.bytes() > kMaxIndexBytes) {
    throw Error(ErrorCode::malformed, "the index is too large",
                {.file = file.path(),
                 .field = "",
                 .found = std::to_string(file.bytes()) + " bytes",
                 .allowed = "at most " + std::to_string(kMaxIndexBytes) + " bytes"});
  }
  std::string text(file.bytes(), '\0');
  file.read(text.data(), text.size(), 0);
  return text;
}

}  // namespace

struct Catalogue::State {
  std::string folder;
  std::deque<File> files;  // addresses stay
  std::vector<std::string> file_names;
  std::map<std::string, ListedTensor, std::less<>> tensors;
  std::vector<std::string> warnings;
  Digest digest;
  uint64_t total_bytes = 0;

  void open_all(const ModelFolder& from, const std::vector<std::string>& names, bool direct,
                const FaultSeam* seam);
  void read_headers();
  void add_tensors(const File& file, SafetensorsHeader header);
  void apply_index(const ModelFolder& from, const ShardIndex& index);
  void check_listed(const std::string& index_path, const ShardIndex& index);
  void drop_unlisted(const ShardIndex& index);
  void warn_unused(const ModelFolder& from);
};

// Missing and unreadable files are gathered: the user fetches all of them at once.
void Catalogue::State::open_all(const ModelFolder& from, const std::vector<std::string>& names,
                                bool direct, const FaultSeam* seam) {
  std::vector<std::string> missing, unreadable;
  for (const std::string& name : names) {
    try {
      files.push_back(from.open(name, direct, seam));
      file_names.push_back(name);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::malformed) throw;
      const bool absent = error.code() == ErrorCode::not_found;
      if (absent) missing.push_back(name);
      if (!absent) unreadable.push_back(name + " (" + error.message() + ")");
    }
  }
  if (missing.empty() && unreadable.empty()) return;
  std::string why;
  if (!missing.empty())
    why = "missing files: " + join(missing, kNamesInMessage) + from.hint_about_missing(missing[0]);
  if (!unreadable.empty())
    why += (why.empty() ? "" : "; ") + ("unreadable files: " + join(unreadable, kNamesInMessage));
  throw Error(missing.empty() ? ErrorCode::io : ErrorCode::not_found, why,
              {.file = folder,
               .field = "",
               .found = std::to_string(files.size()) + " files",
               .allowed = std::to_string(names.size()) + " files"});
}

void Catalogue::State::read_headers() {
  for (size_t i = 0; i < files.size(); ++i) {
    SafetensorsHeader header = read_safetensors_header(files[i]);
    const FileIdentity identity = files[i].identity();
    digest.add(file_names[i]).add(header.digest).add(identity.bytes).add(identity.inode);
    digest.add(static_cast<uint64_t>(identity.modified_ns));
    add_tensors(files[i], std::move(header));
  }
}

void Catalogue::State::add_tensors(const File& file, SafetensorsHeader header) {
  for (TensorEntry& tensor : header.tensors) {
    const RawDType* dtype = find_raw_dtype(tensor.dtype);
    ListedTensor found{.location = {.file = &file,
                                    .offset = tensor.offset,
                                    .bytes = tensor.bytes,
                                    .dtype = dtype->readable.value_or(DType::f32),
                                    .shape = std::move(tensor.shape)},
                       .dtype = dtype};
    const auto [at, is_new] = tensors.try_emplace(std::move(tensor.name), std::move(found));
    if (!is_new) {
      throw Error(ErrorCode::malformed, "the tensor is in two shards",
                  {.file = file.path(),
                   .field = "/" + escape_for_message(at->first),
                   .found = "also in " + quote_for_message(at->second.location.file->path()),
                   .allowed = "one shard"});
    }
  }
  if (tensors.size() > kMaxTensors) {
    throw Error(ErrorCode::malformed, "too many tensors in all shards",
                {.file = folder,
                 .field = "",
                 .found = std::to_string(tensors.size()),
                 .allowed = std::to_string(kMaxTensors)});
  }
}

void Catalogue::State::check_listed(const std::string& index_path, const ShardIndex& index) {
  for (const ShardIndex::Entry& entry : index.entries) {
    const auto at = tensors.find(entry.tensor);
    const bool absent = at == tensors.end();
    if (!absent && at->second.location.file == &files[entry.shard]) continue;
    throw Error(ErrorCode::malformed, "the tensor is not in the shard that the index names",
                {.file = index_path,
                 .field = "/weight_map/" + escape_for_message(entry.tensor),
                 .found = absent ? "in no shard"
                                 : "in " + quote_for_message(at->second.location.file->path()),
                 .allowed = "in " + quote_for_message(index.shards[entry.shard])});
  }
}

void Catalogue::State::drop_unlisted(const ShardIndex& index) {
  if (tensors.size() == index.entries.size())
    return;  // names in the index are unique and all present
  std::map<std::string, ListedTensor, std::less<>> listed;
  for (const ShardIndex::Entry& entry : index.entries) listed.insert(tensors.extract(entry.tensor));
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  warnings.push_back("tensors in the shards but not in the index are ignored: " + join(names, 10));
  tensors = std::move(listed);
}

void Catalogue::State::apply_index(const ModelFolder& from, const ShardIndex& index) {
  check_listed(from.path_of(kIndexName), index);
  drop_unlisted(index);
  uint64_t listed_bytes = 0;
  for (const auto& [name, tensor] : tensors) listed_bytes += tensor.location.bytes;
  if (!index.total_size.empty() && index.total_size != std::to_string(listed_bytes)) {
    warnings.push_back("the index says total_size " + index.total_size + ", the tensors have " +
                       std::to_string(listed_bytes) + " bytes");
  }
  warn_unused(from);
}

void Catalogue::State::warn_unused(const ModelFolder& from) {
  std::vector<std::string> unused;
  for (const std::string& name : from.with_suffix(".safetensors")) {
    const bool used = std::find(file_names.begin(), file_names.end(), name) != file_names.end();
    if (!used) unused.push_back(name);
  }
  if (!unused.empty()) {
    warnings.push_back("files that the index does not name are ignored: " + join(unused, 10));
  }
}

Catalogue::Catalogue() : state_(std::make_unique<State>()) {}
Catalogue::Catalogue(Catalogue&&) noexcept = default;
Catalogue& Catalogue::operator=(Catalogue&&) noexcept = default;
Catalogue::~Catalogue() = default;

Catalogue Catalogue::open(const std::string& folder, bool direct, const FaultSeam* seam) {
  const ModelFolder from(folder);
  Catalogue catalogue;
  State& state = *catalogue.state_;
  state.folder = folder;
  if (from.has(kIndexName)) {
    const ShardIndex index = parse_shard_index(read_index(from, seam), from.path_of(kIndexName));
    state.open_all(from, index.shards, direct, seam);
    state.read_headers();
    state.apply_index(from, index);
  } else if (from.has(kSingleName)) {
    state.open_all(from, {std::string(kSingleName)}, direct, seam);
    state.read_headers();
  } else {
    refuse_empty_folder(from);
  }
  for (const auto& [name, tensor] : state.tensors) state.total_bytes += tensor.location.bytes;
  return catalogue;
}

bool Catalogue::contains(std::string_view name) const { return state_->tensors.contains(name); }

const TensorLocation& Catalogue::find(std::string_view name) const {
  const auto at = state_->tensors.find(name);
  if (at == state_->tensors.end()) {
    throw Error(
        ErrorCode::not_found, "the checkpoint lacks this tensor",
        {.file = state_->folder, .field = quote_for_message(name), .found = "", .allowed = ""});
  }
  const ListedTensor& tensor = at->second;
  if (!tensor.dtype->readable) {
    throw Error(ErrorCode::unsupported, "tensors of this dtype are not read",
                {.file = tensor.location.file->path(),
                 .field = "/" + escape_for_message(name, 512) + "/dtype",
                 .found = std::string(tensor.dtype->name),
                 .allowed = std::string(kReadableDTypes)});
  }
  return tensor.location;
}

std::vector<std::string> Catalogue::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : state_->tensors) names.push_back(name);
  return names;
}

const std::vector<std::string>& Catalogue::warnings() const { return state_->warnings; }
std::string Catalogue::fingerprint() const { return state_->digest.hex(); }
uint64_t Catalogue::total_bytes() const { return state_->total_bytes; }

}  // namespace penstock
