#include "io/async_io.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"
#include "io/aligned_block.h"

namespace penstock {
namespace {

constexpr uint64_t kPieceBytes = uint64_t{1} << 20;
constexpr uint64_t kUnalignedPieceBytes = kFileBounceBytes - kIoAlignment;

}  // namespace

// Guarded by the mutex of the AsyncIo, but for the pieces, which do not change.
class AsyncIo::Pending {
 public:
  explicit Pending(std::vector<Transfer> pieces)
      : pieces_(std::move(pieces)), left_(pieces_.size()) {}

  size_t size() const { return pieces_.size(); }
  const Transfer& piece(size_t index) const { return pieces_[index]; }
  bool failed() const { return error_ != nullptr; }

  void finish(size_t index, std::exception_ptr error) {
    if (error != nullptr && (error_ == nullptr || index < error_index_)) {
      error_ = std::move(error);
      error_index_ = index;
    }
    if (--left_ == 0) done_.notify_all();
  }

  void wait(std::unique_lock<std::mutex> lock) {
    done_.wait(lock, [&] { return left_ == 0; });
    if (error_ != nullptr) std::rethrow_exception(error_);
  }

 private:
  const std::vector<Transfer> pieces_;
  std::condition_variable done_;
  size_t left_;
  std::exception_ptr error_;
  size_t error_index_ = 0;
};

namespace {

void perform(const Transfer& piece, std::span<std::byte> bounce) {
  if (piece.write) {
    piece.file->write(piece.data, piece.bytes, piece.offset);
  } else if (piece.unaligned) {
    piece.file->read_unaligned(piece.data, piece.needed, piece.offset, bounce);
  } else {
    piece.file->read_covering(piece.data, piece.bytes, piece.offset, piece.needed);
  }
}

std::exception_ptr error_of(const Transfer& piece, std::span<std::byte> bounce) {
  try {
    perform(piece, bounce);
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

}  // namespace

struct AsyncIo::State {
  struct Work {
    Handle request;
    size_t index;
  };

  explicit State(int workers) {
    try {
      for (int i = 0; i < workers; ++i) threads.emplace_back([this] { serve(); });
    } catch (const std::system_error& error) {
      stop();
      throw Error(ErrorCode::io, std::string("cannot start an I/O thread: ") + error.what());
    }
  }
  ~State() { stop(); }

  void stop() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    ready.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  // A worker lets go of a request before it unlocks, so that the waiting side is the last to hold
  // it and its error.
  void serve() {
    const AlignedBlock bounce(kFileBounceBytes);
    std::unique_lock lock(mutex);
    while (true) {
      ready.wait(lock, [&] { return stopping || !queue.empty(); });
      if (queue.empty()) return;
      Work work = std::move(queue.front());
      queue.pop_front();
      std::exception_ptr error;
      if (!work.request->failed()) {
        lock.unlock();
        error = error_of(work.request->piece(work.index), bounce.span());
        lock.lock();
      }
      work.request->finish(work.index, std::move(error));
      work.request.reset();
    }
  }

  std::mutex mutex;
  std::condition_variable ready;
  std::deque<Work> queue;
  bool stopping = false;
  std::vector<std::thread> threads;
};

namespace {

void check_transfer(const Transfer& transfer) {
  check(transfer.file != nullptr, "a transfer needs a file");
  check(transfer.needed <= transfer.bytes, "a transfer cannot need more than its bytes");
  check(!transfer.write || !transfer.unaligned || !transfer.file->direct(),
        "a direct file has no unaligned writes");
  check(!transfer.write || transfer.needed == 0, "a write is never partial");
}

void cut(const Transfer& transfer, std::vector<Transfer>& pieces) {
  check_transfer(transfer);
  const uint64_t needed = transfer.needed == 0 ? transfer.bytes : transfer.needed;
  const uint64_t most = transfer.unaligned ? kUnalignedPieceBytes : kPieceBytes;
  for (uint64_t begin = 0; begin < needed; begin += most) {
    Transfer piece = transfer;
    piece.data = static_cast<std::byte*>(transfer.data) + begin;
    piece.bytes = std::min(most, transfer.bytes - begin);
    piece.offset += begin;
    piece.needed = std::min(piece.bytes, needed - begin);
    pieces.push_back(piece);
  }
}

int checked_workers(int workers) {
  if (workers >= 1 && workers <= 256) return workers;
  throw Error(
      ErrorCode::invalid_argument, "bad number of I/O workers",
      {.file = "", .field = "workers", .found = std::to_string(workers), .allowed = "1 to 256"});
}

}  // namespace

uint64_t AsyncIo::bounce_bytes(int workers) {
  return static_cast<uint64_t>(workers) * kFileBounceBytes;
}

AsyncIo::AsyncIo(int workers) : state_(std::make_unique<State>(checked_workers(workers))) {}
AsyncIo::~AsyncIo() = default;

AsyncIo::Handle AsyncIo::start(std::span<const Transfer> transfers) {
  std::vector<Transfer> pieces;
  for (const Transfer& transfer : transfers) cut(transfer, pieces);
  auto request = std::make_shared<Pending>(std::move(pieces));
  {
    const std::lock_guard lock(state_->mutex);
    for (size_t i = 0; i < request->size(); ++i) state_->queue.push_back({request, i});
  }
  if (request->size() == 1) {
    state_->ready.notify_one();
  } else {
    state_->ready.notify_all();
  }
  return request;
}

void AsyncIo::wait(const Handle& handle) {
  handle->wait(std::unique_lock<std::mutex>(state_->mutex));
}

}  // namespace penstock
