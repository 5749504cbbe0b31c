// Runs something that must fail with a typed error, and hands the error back for closer looks.
#pragma once

#include <gtest/gtest.h>

#include <exception>
#include <string>
#include <typeinfo>

#include "base/error.h"

namespace penstock {

// The error that f() throws; a test failure (and an Error(internal) with an empty text) when it
// throws none or another kind.
template <class F>
Error caught(F f) {
  try {
    f();
    ADD_FAILURE() << "no error was thrown";
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& error) {
    ADD_FAILURE() << "not a penstock::Error: " << typeid(error).name() << ": " << error.what();
  }
  return Error(ErrorCode::internal, "");
}

// The code and a part of the text must both fit.
template <class F>
void expect_error(ErrorCode code, const std::string& part, F f) {
  const Error error = caught(f);
  EXPECT_EQ(error_code_name(error.code()), error_code_name(code)) << error.what();
  EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
      << error.what() << " lacks " << part;
}

}  // namespace penstock
