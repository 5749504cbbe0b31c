// Stacks that one thread runs in turns. resume() goes on where the coroutine last paused and
// returns when it pauses again or its function ends.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace penstock::test {

class Coroutine {
 public:
  Coroutine();
  ~Coroutine();
  Coroutine(const Coroutine&) = delete;
  Coroutine& operator=(const Coroutine&) = delete;

  // Begins anew; the last function must have ended.
  void start(std::function<void()> function);
  void resume();
  void pause();  // only from inside
  bool done() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace penstock::test
