#include "support/coroutine.h"

#include <cstdint>
#include <cstring>

// Two kinds of Stack, with
//   void prepare(std::function<void()>*)   a new stack that begins with the function, which never
//                                          returns
//   void enter(), void leave()
// Sanitizers follow the system's contexts; those ask the kernel at every turn and are slow.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

// Saves what a call must keep, leaves the stack pointer at *from and goes on from `to`.
extern "C" void penstock_switch_stack(void** from, void* to);
asm(R"(
.text
.type penstock_switch_stack,@function
penstock_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size penstock_switch_stack,.-penstock_switch_stack
)");

namespace penstock::test {
namespace {

constexpr size_t kStackBytes = size_t{64} << 10;
thread_local std::function<void()>* entering = nullptr;  // what a new stack begins with

void enter_new() { (*entering)(); }

class Stack {
 public:
  void prepare(std::function<void()>* function) {
    function_ = function;
    std::byte* top = bytes_.get() + kStackBytes;
    top -= reinterpret_cast<uintptr_t>(top) % 16 + 8;  // as after a call
    void (*first)() = &enter_new;
    std::memcpy(top -= 8, &first, 8);
    std::memset(top -= 48, 0, 48);  // the registers
    inside_ = top;
  }
  void enter() {
    entering = function_;
    penstock_switch_stack(&outside_, inside_);
  }
  void leave() { penstock_switch_stack(&inside_, outside_); }

 private:
  std::unique_ptr<std::byte[]> bytes_ = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
  std::function<void()>* function_ = nullptr;
  void *inside_ = nullptr, *outside_ = nullptr;
};

}  // namespace
}  // namespace penstock::test

#else

#include <ucontext.h>

namespace penstock::test {
namespace {

constexpr size_t kStackBytes = size_t{256} << 10;

void enter_halves(uint32_t low, uint32_t high) {
  const uint64_t address = uint64_t{low} | uint64_t{high} << 32;
  std::function<void()>* function;
  std::memcpy(&function, &address, sizeof function);
  (*function)();
}

class Stack {
 public:
  void prepare(std::function<void()>* function) {
    getcontext(&inside_);
    inside_.uc_stack.ss_sp = bytes_.get();
    inside_.uc_stack.ss_size = kStackBytes;
    inside_.uc_link = &outside_;
    const auto address = reinterpret_cast<uint64_t>(function);
    makecontext(&inside_, reinterpret_cast<void (*)()>(&enter_halves), 2,
                static_cast<uint32_t>(address), static_cast<uint32_t>(address >> 32));
  }
  void enter() { swapcontext(&outside_, &inside_); }
  void leave() { swapcontext(&inside_, &outside_); }

 private:
  std::unique_ptr<std::byte[]> bytes_ = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
  ucontext_t inside_, outside_;
};

}  // namespace
}  // namespace penstock::test

#endif

namespace penstock::test {

struct Coroutine::State {
  Stack stack;
  std::function<void()> function;
  bool done = true;
};

Coroutine::Coroutine() : state_(std::make_unique<State>()) {}
Coroutine::~Coroutine() = default;

void Coroutine::start(std::function<void()> function) {
  State* state = state_.get();
  state->done = false;
  state->function = [state, inner = std::move(function)] {
    inner();
    state->done = true;
    state->stack.leave();
  };
  state->stack.prepare(&state->function);
}
void Coroutine::resume() { state_->stack.enter(); }
void Coroutine::pause() { state_->stack.leave(); }
bool Coroutine::done() const { return state_->done; }

}  // namespace penstock::test
