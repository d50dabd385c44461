# SPDX-License-Identifier: Apache-2.0
"""How every benchmark tells its result; tests/bench/run says what the numbers are."""
import json
import statistics
import sys


def report(name, unit, ours, peer, theirs):
    """`ours` and `theirs`: the samples of both sides, as many of one as of the other."""
    value, peer_value = statistics.median(ours), statistics.median(theirs)
    result = {"name": name, "value": round(value, 1), "unit": unit, "peer": peer, "peer_value": round(peer_value, 1),
              "ratio": round(peer_value / value, 3), "samples": len(ours)}
    print(json.dumps(result) if "--json" in sys.argv[1:] else
          f"{name}: {result['value']} {unit}; {peer}: {result['peer_value']}; "
          f"ratio {result['ratio']} ({result['samples']} samples each)")
