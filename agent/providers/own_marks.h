// SPDX-License-Identifier: Apache-2.0
//
// Purpose: whose marks count as this agent's own: its store's, and those of stores that an
// operator told it to adopt or to purge.
//
// Threading: any thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

namespace fairlead {

class OwnMarks {
 public:
  // `store` is not 0; what is made carries its mark.
  explicit OwnMarks(uint32_t store, std::set<uint32_t> taken_over = {});

  uint32_t store() const { return store_; }
  // "fairlead 0a1b2c3d": the ifalias of what this store's agent makes.
  std::string Alias() const;
  bool Owns(uint32_t store) const;
  bool OwnsAlias(std::string_view alias) const;
  void TakeOver(uint32_t store);

 private:
  const uint32_t store_;
  mutable std::mutex mutex_;  // guards what follows
  std::set<uint32_t> taken_over_;
};

// The store id of such an alias; 0 for any other.
uint32_t StoreOfAlias(std::string_view alias);

}  // namespace fairlead
