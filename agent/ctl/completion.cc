// SPDX-License-Identifier: Apache-2.0
#include "agent/ctl/completion.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "agent/base/text.h"
#include "agent/ctl/command_tree.h"
#include "agent/ctl/commands.h"
#include "agent/ctl/kinds.h"
#include "agent/ctl/render.h"
#include "agent/ctl/session.h"
#include "fairlead/v1/agent.pb.h"

namespace fairlead {
namespace {

bool TakesValue(const CLI::Option* option) { return option->get_items_expected_max() > 0; }
bool ValueMayBeLeftOut(const CLI::Option* option) { return option->get_items_expected_min() == 0; }
bool MayBeRepeated(const CLI::Option* option) { return option->get_items_expected_max() > 1; }

// A terminal and a shell see these; an agent that says anything else is ignored.
bool Harmless(const std::string& id) {
  return std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._-:/").find(c) != std::string_view::npos;
  });
}

// The words so far, read as CLI11 will read them, and what may come next.
class Completer {
 public:
  Completer(const std::vector<std::string>& words, const CtlWorld& world)
      : world_(world), tree_(&options_, &raw_), at_(&tree_.app) {
    if (!world.defaults.endpoint.empty()) options_.endpoint = world.defaults.endpoint;
    for (size_t i = 0; i + 1 < words.size(); ++i) Read(words[i]);
    if (!words.empty()) current_ = words.back();
  }

  std::string Print() {
    const size_t equals = current_.find('=');
    if (wants_ != nullptr && !ValueMayBeLeftOut(wants_)) {
      OfferValues(tree_.ValuesOf(wants_), "");
    } else if (!only_positionals_ && current_.starts_with("--") && equals != std::string::npos) {
      const CLI::Option* option = Find(current_.substr(0, equals));
      if (option != nullptr && TakesValue(option)) {
        const std::string name = current_.substr(0, equals + 1);
        current_.erase(0, equals + 1);
        OfferValues(tree_.ValuesOf(option), name);
      }
    } else if (!only_positionals_ && current_.starts_with('-')) {
      OfferOptions();
    } else {
      OfferCommands();
      if (const CLI::Option* positional = Positional()) {
        OfferValues(tree_.ValuesOf(positional), "");
      }
    }
    return out_;
  }

 private:
  // This command's, or one that all have.
  const CLI::Option* Find(const std::string& name) const {
    for (const CLI::App* app : {at_, static_cast<const CLI::App*>(&tree_.app)}) {
      const CLI::Option* option = app->get_option_no_throw(name);
      if (option != nullptr && option->nonpositional()) return option;
    }
    return nullptr;
  }

  void Read(const std::string& word) {
    if (const CLI::Option* option = std::exchange(wants_, nullptr)) {
      // As SettleWait in options.cc: what may be left out is a duration.
      if (!ValueMayBeLeftOut(option) || ParseDuration(word)) {
        Remember(option, word);
        return;
      }
    }
    if (only_positionals_) {
      positionals_.push_back(word);
    } else if (word == "--") {
      only_positionals_ = true;
    } else if (word.starts_with('-') && word.size() > 1) {
      const size_t equals = word.find('=');
      const CLI::Option* option = Find(word.substr(0, equals));
      if (option == nullptr) return;
      used_.insert(option);
      if (equals != std::string::npos) {
        Remember(option, word.substr(equals + 1));
      } else if (TakesValue(option)) {
        wants_ = option;
      }
    } else if (const CLI::App* sub = SubCommand(word); sub != nullptr) {
      at_ = sub;
    } else {
      positionals_.push_back(word);
    }
  }

  void Remember(const CLI::Option* option, const std::string& value) {
    if (option->check_lname("endpoint")) options_.endpoint = value;
  }

  const CLI::App* SubCommand(const std::string& name) const {
    for (const CLI::App* sub : at_->get_subcommands([](const CLI::App*) { return true; })) {
      if (sub->get_name() == name) return sub;
    }
    return nullptr;
  }

  const CLI::Option* Positional() const {
    size_t left = positionals_.size();
    for (const CLI::Option* option : at_->get_options()) {
      if (!option->get_positional()) continue;
      if (left == 0 || MayBeRepeated(option)) return option;
      --left;
    }
    return nullptr;
  }

  void Offer(const std::string& word, std::string_view help = "") {
    if (!word.starts_with(current_) || offered_ >= kMostCandidates) return;
    ++offered_;
    StrAppend(&out_, prefix_, word, help.empty() ? "" : "\t", help, "\n");
  }

  void OfferCommands() {
    if (!positionals_.empty()) return;
    for (const CLI::App* sub : at_->get_subcommands([](const CLI::App*) { return true; })) {
      Offer(sub->get_name(), sub->get_description());
    }
  }

  void OfferOptions() {
    std::set<const CLI::Option*> seen;
    for (const CLI::App* app : {at_, static_cast<const CLI::App*>(&tree_.app)}) {
      for (const CLI::Option* option : app->get_options()) {
        if (!option->nonpositional() || !seen.insert(option).second) continue;
        if (app != at_ && option->check_lname("help")) continue;
        if (used_.contains(option) && !MayBeRepeated(option)) continue;
        Offer("--" + option->get_lnames().front(), option->get_description());
      }
    }
  }

  // `name` is "--option=" where the value stands in the same word.
  void OfferValues(const Values& values, const std::string& name) {
    prefix_ = name;
    switch (values.from) {
      case Values::From::kNothing:
        break;
      case Values::From::kList:
        for (const std::string& word : values.list) Offer(word);
        break;
      case Values::From::kFile:
        StrAppend(&out_, ":files\n");
        break;
      case Values::From::kIds:
        for (const std::string& id : Ids(values.list.front())) Offer(id);
        break;
      case Values::From::kIdsOfKind:
        if (!positionals_.empty()) {
          for (const std::string& id : Ids(Singular(positionals_.front()))) Offer(id);
        }
        break;
      case Values::From::kWatched:
      case Values::From::kRefs:
        OfferRefs(values);
        break;
    }
  }

  void OfferRefs(const Values& values) {
    const size_t slash = current_.find('/');
    const std::string typed = current_.substr(0, slash);
    for (const KindName& kind : kKinds) {
      if (std::find(values.list.begin(), values.list.end(), kind.singular) == values.list.end()) {
        continue;
      }
      if (slash == std::string::npos) {
        if (values.from == Values::From::kWatched) Offer(kind.plural);
        const size_t before = offered_;
        Offer(StrCat(kind.singular, "/"));
        no_space_ = no_space_ || offered_ > before;
      } else if (Singular(typed) == kind.singular) {
        for (const std::string& id : Ids(kind.singular)) Offer(StrCat(typed, "/", id));
      }
    }
    if (no_space_) StrAppend(&out_, ":nospace\n");
  }

  std::vector<std::string> Ids(const std::string& kind) {
    Options options;
    options.endpoint = options_.endpoint;
    options.timeout = kAgentTime;
    Session session(std::move(options), world_);
    std::vector<std::string> ids;
    const auto add = [&ids](std::string id) {
      const bool known = std::find(ids.begin(), ids.end(), id) != ids.end();
      if (!id.empty() && !known && Harmless(id)) ids.push_back(std::move(id));
    };
    if (IsObjectKind(kind)) {
      v1::GetReply reply;
      if (!session.GetObjects(WireKind(kind), "", &reply).ok()) return ids;
      for (const auto& item : reply.objects()) {
        const std::string ref = RefTextOf(item);
        add(ref.substr(ref.find('/') + 1));
      }
    } else if (kind == "pf" || kind == "vf") {
      v1::Request request;
      request.mutable_get_host();
      v1::Reply reply;
      if (!session.Call(std::move(request), &reply).ok()) return ids;
      for (const auto& pf : reply.host().pfs()) {
        if (kind == "pf") {
          add(pf.netdev());
          add(pf.name());
          add(pf.pci());
          add(pf.mac());
        }
        for (const auto& vf : pf.vfs()) {
          if (kind == "vf") add(vf.pci());
        }
      }
    }
    return ids;
  }

  const CtlWorld& world_;
  Options options_;
  RawOptions raw_;
  CommandTree tree_;
  const CLI::App* at_;                  // the command that was typed, or all
  const CLI::Option* wants_ = nullptr;  // the word before is this option
  bool only_positionals_ = false;       // after "--"
  std::vector<std::string> positionals_;
  std::set<const CLI::Option*> used_;
  std::string current_;
  std::string prefix_;
  bool no_space_ = false;
  size_t offered_ = 0;
  std::string out_;
};

// The protocol stands in completion.h.
constexpr char kBash[] =
    R"(# Completion of fairleadctl for bash; made by `fairleadctl completion bash`.
# SPDX-License-Identifier: Apache-2.0
__fairleadctl_complete() {
  local line=${COMP_LINE:0:COMP_POINT} current item
  local -a words
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] || ${#words[@]} -eq 1 ]] && words+=("")
  current=${words[-1]}
  COMPREPLY=()
  while IFS= read -r item; do
    case $item in
      :files)
        [[ $current == --*=* ]] && current=${current#*=}
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
      :nospace) compopt -o nospace 2>/dev/null ;;
      *) COMPREPLY+=("${item%%$'\t'*}") ;;
    esac
  done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
  # bash replaces what follows the last of these in the word, and no more.
  local breaks=${COMP_WORDBREAKS//[^=:]/} head=
  [[ -n $breaks && $current == *["$breaks"]* ]] && head=${current%"${current##*["$breaks"]}"}
  COMPREPLY=("${COMPREPLY[@]#"$head"}")
}
complete -F __fairleadctl_complete fairleadctl
)";

constexpr char kZsh[] = R"(#compdef fairleadctl
# Completion of fairleadctl for zsh; made by `fairleadctl completion zsh`.
# SPDX-License-Identifier: Apache-2.0
_fairleadctl() {
  local -a lines values shown extra
  local item
  lines=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
  for item in "${lines[@]}"; do
    case $item in
      '') ;;
      :files)
        compset -P '--*='
        _files
        return
        ;;
      :nospace) extra=(-S '') ;;
      *)
        values+=("${item%%$'\t'*}")
        shown+=("${item/$'\t'/  -- }")
        ;;
    esac
  done
  (( $#values )) && compadd "${extra[@]}" -d shown -a values
}
if [[ ${funcstack[1]} == _fairleadctl ]]; then
  _fairleadctl "$@"
else
  compdef _fairleadctl fairleadctl
fi
)";

constexpr char kFish[] =
    R"(# Completion of fairleadctl for fish; made by `fairleadctl completion fish`.
# SPDX-License-Identifier: Apache-2.0
function __fairleadctl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    for item in (command $program __complete $words "$current" 2>/dev/null)
        switch $item
            case ':files'
                set -l option (string match -r '^--[a-z-]+=' -- "$current")
                set -l typed (string replace -r '^--[a-z-]+=' '' -- "$current")
                for path in (__fish_complete_path $typed)
                    echo $option$path
                end
            case ':nospace'
            case '*'
                echo $item
        end
    end
end
complete -c fairleadctl -f -a '(__fairleadctl_complete)'
)";

}  // namespace

std::string Complete(const std::vector<std::string>& words, const CtlWorld& world) {
  return Completer(words, world).Print();
}

std::string CompletionScript(std::string_view shell) {
  return shell == "zsh" ? kZsh : shell == "fish" ? kFish : kBash;
}

}  // namespace fairlead
