// SPDX-License-Identifier: Apache-2.0
//
// Purpose: fairleadctl's commands and options, in one place: what parses a line,
// prints the help and completes words is this tree.
//
// Threading: one thread. Ownership: writes into the Options and RawOptions that
// it borrows. Errors: CLI11's exceptions, from `app.parse`.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

#include "agent/ctl/options.h"

namespace fairlead {

// Text that CLI11 reads; what it means is checked after parsing.
struct RawOptions {
  std::string timeout, output = "table", kind, within;
  std::vector<std::string> wait;  // at most one
};

// What may stand where an option or a positional wants a value.
struct Values {
  enum class From {
    kNothing,    // free text
    kList,       // one of `list`
    kFile,       // a path
    kIds,        // the id of an object of the kind list[0]
    kIdsOfKind,  // the id of something of the kind that was typed before it
    kRefs,       // KIND/ID with a kind of `list` (singular)
    kWatched,    // the same, or KIND alone
  };
  From from = From::kNothing;
  std::vector<std::string> list;
};

class CommandTree {
 public:
  CommandTree(Options* options, RawOptions* raw);
  CommandTree(const CommandTree&) = delete;
  CommandTree& operator=(const CommandTree&) = delete;

  CLI::App app;
  const Values& ValuesOf(const CLI::Option* option) const;

 private:
  CLI::App* Command(const char* name, const char* help, Options::Command value) {
    return Command(&app, name, help, value);
  }
  CLI::App* Command(CLI::App* of, const char* name, const char* help, Options::Command value);
  CLI::Option* Choice(CLI::Option* option, std::vector<std::string> list);
  void Note(const CLI::Option* option, Values::From from, std::vector<std::string> list = {});
  void AddOutput(CLI::App* app, const std::vector<std::string>& forms);
  void AddWait(CLI::App* app, const char* what);
  void AddDryRun(CLI::App* app);
  void AddIgnoreMissing(CLI::App* app);
  void AddChanges();
  void AddAttach();
  void AddTakeOver();
  void AddVf();
  void AddController();
  void AddReads();
  void AddExplain();

  Options& o_;
  RawOptions& raw_;
  std::map<const CLI::Option*, Values> values_;
};

}  // namespace fairlead
