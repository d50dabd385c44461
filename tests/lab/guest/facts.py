# SPDX-License-Identifier: Apache-2.0
"""Lets the NIC face set up its devices in the guest and writes the facts file.

Usage: facts.py FACE FACTS-FILE     the facts known outside come as JSON on standard input
"""
import importlib.util
import json
import os
import sys

face_name, target = sys.argv[1:]
path = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "nic", f"{face_name}.py")
spec = importlib.util.spec_from_file_location(face_name, path)
face = importlib.util.module_from_spec(spec)
sys.dont_write_bytecode = True
spec.loader.exec_module(face)
facts = json.load(sys.stdin)
face.guest(facts)
with open(target, "w") as f:
    json.dump(facts, f, indent=2)
    f.write("\n")
