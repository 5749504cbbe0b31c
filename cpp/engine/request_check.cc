#include "engine/request_check.h"

#include <string>

#include "base/checked.h"
#include "base/error.h"
#include "engine/sampler.h"
#include "tensor/units.h"

namespace penstock {
namespace {

[[noreturn]] void refuse(const std::string& found, const std::string& allowed, const char* what) {
  throw Error(ErrorCode::invalid_argument, what,
              {.file = "", .field = "prompt", .found = found, .allowed = allowed});
}

void require_pages(int64_t pages, int64_t limit, const char* what) {
  if (pages <= limit) return;
  refuse(std::to_string(pages) + " KV pages", "at most " + std::to_string(limit), what);
}

}  // namespace

RequestCheck::RequestCheck(const Parts& parts)
    : parts_(parts), dealer_(*parts.memory, *parts.policy, parts.accelerator) {}

void RequestCheck::check_terms(const Request& request) const {
  const int vocab = parts_.spec->vocab;
  const auto length = static_cast<int64_t>(request.tokens.size());
  if (request.tokens.empty()) refuse("no tokens", "at least one", "the prompt is empty");
  for (const int32_t token : request.tokens) {
    if (token >= 0 && token < vocab) continue;
    refuse(std::to_string(token), "0 to " + std::to_string(vocab - 1),
           "token id outside the vocabulary");
  }
  const bool generates = !request.score && !request.all_logits;
  if (generates) check_sampling(request.sampling, vocab);
  const int64_t total = length + (generates ? request.sampling.max_tokens : 0);
  if (total <= parts_.max_context) return;
  const std::string fresh =
      generates ? " + max_tokens " + std::to_string(request.sampling.max_tokens) : "";
  refuse(std::to_string(length) + " prompt tokens" + fresh,
         "together at most " + std::to_string(parts_.max_context),
         "the request is too long for the context");
}

void RequestCheck::check_room(const LiveRequest& request) const {
  const MemoryPlan& memory = *parts_.memory;
  const KvStore& kv = *parts_.kv;
  const KvNeed room = kv.capacity();
  const int64_t page_bytes = round_up(kv.layout().page_bytes(), kLineBytes);
  const int64_t pages = kv.pages_for(request.final_length());
  for (const KvHome& home : dealer_.possible(pages)) {
    const KvNeed need = kv.need(home, request.final_cached());
    const KvNeed whole = kv.need(home, request.final_length());
    const int64_t below = home.below_of(pages);
    require_pages(need.here, room.here, "the request needs more KV memory than the budget leaves");
    require_pages(need.host, room.host,
                  "the request needs more KV memory than the host budget leaves");
    require_pages(whole.units, room.units,
                  "the request needs more KV space than the disk budget leaves");
    if (home.on_disk()) {
      require_pages(below, static_cast<int64_t>(memory.kv_staging_bytes / kv.unit_bytes()),
                    "the request has more KV pages than pass through host memory at once");
    }
    if (memory.device_kv_slots > 0) {
      require_pages(below, static_cast<int64_t>(memory.device_kv_bytes) / page_bytes,
                    "the request has more KV pages than pass through device memory at once");
    }
  }
}

}  // namespace penstock
