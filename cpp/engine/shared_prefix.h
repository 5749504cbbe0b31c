// Prompts that begin alike (few-shot headers, system prompts, several samples of one prompt) share
// the KV pages of their equal beginning: a row that enters takes the full pages it has in common
// with a row in flight by reference. The other row may still be about to compute them, even in the
// very sweep in which this one begins: appending keys comes before attention, and a row's turn
// comes after its donor's. Keys and values of a position depend on the tokens up to it and on
// nothing else, so no bit changes.
#pragma once

#include <list>
#include <memory>

#include "engine/row.h"

namespace penstock {

struct PrefixMatch {
  Row* donor = nullptr;
  int64_t pages = 0;
};

// The row in flight with which `row` has the most full pages in common; the oldest of those. At
// least one prompt token is left to `row`. Rows that want something of every position take no
// part. Pages below the tier where the model computes are shared too; they are there for another
// row from the sweep after the one that stores them.
PrefixMatch find_prefix(const std::list<std::unique_ptr<Row>>& active, const Row& row,
                        int page_tokens);

}  // namespace penstock
