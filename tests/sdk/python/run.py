"""Runs the conformance scenario through the Python product SDK, alibabacloud-live20161101 (signature V3).

usage: run.py EMULATOR_URL ADMIN_URL SCENARIO
"""

import json
import re
import sys
import time
import urllib.request
from importlib.metadata import version

from alibabacloud_live20161101 import models
from alibabacloud_live20161101.client import Client
from alibabacloud_tea_openapi import exceptions
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.runtime import RuntimeOptions

PACKAGE = "alibabacloud-live20161101"


class Mismatch(Exception):
    """The result differs from the expectation of the step."""


def client(url, key):
    return Client(
        Config(
            access_key_id=key["id"],
            access_key_secret=key["secret"],
            security_token=key.get("token"),
            protocol="http",
            endpoint=url.removeprefix("http://"),
            region_id="cn-shanghai",
        )
    )


def call(sdk, step, params):
    """Makes the call and returns the fields of the response. Exceptions of the SDK propagate."""
    operation = step["operation"]
    request = getattr(models, operation + "Request")().from_map(params)
    unknown = params.keys() - request.to_map().keys()
    if unknown:
        raise Mismatch(f"the SDK's request has no {', '.join(sorted(unknown))}")
    method = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower() + "_with_options"
    runtime = RuntimeOptions(read_timeout=step.get("timeoutMs", 10_000), connect_timeout=5_000)
    return getattr(sdk, method)(request, runtime).body.to_map()


def expected_exception(status, retry_after):
    """The exception class of the SDK for an API error."""
    if retry_after is not None:
        return exceptions.ThrottlingException
    return exceptions.ClientException if status < 500 else exceptions.ServerException


def check_error(expected, error):
    if type(error) is not expected_exception(expected["status"], expected.get("retryAfterMs")):
        raise Mismatch(f"{type(error).__name__}: {error}")
    got = {"code": error.code, "status": error.status_code}
    if getattr(error, "retry_after", None) is not None:
        got["retryAfterMs"] = error.retry_after
    if got != expected:
        raise Mismatch(f"expected {expected}, got {got}")


def match(path, expected, got):
    """Compares a value with its expectation; see README.md for the notation."""
    short = repr(got)[:200]
    if expected is None:
        matches = not got
    elif isinstance(expected, dict) and "$any" in expected:
        matches = bool(got)
    elif isinstance(expected, dict) and "$count" in expected:
        matches = isinstance(got, list) and len(got) == expected["$count"]
    elif isinstance(expected, dict):
        if not isinstance(got, dict):
            raise Mismatch(f"{path}: expected fields, got {short}")
        for name, value in expected.items():
            match(f"{path}.{name}", value, got.get(name))
        return
    elif isinstance(expected, list):
        matches = isinstance(got, list) and len(got) == len(expected)
        if matches:
            for at, value in enumerate(expected):
                match(f"{path}[{at}]", value, got[at])
    else:
        matches = type(got) is type(expected) and got == expected
    if not matches:
        raise Mismatch(f"{path}: expected {expected!r:.200}, got {short}")


def resolve(value, saved):
    """Replaces `$name` with the value that an earlier step saved."""
    if isinstance(value, str) and value.startswith("$") and value[1:] in saved:
        return saved[value[1:]]
    if isinstance(value, list):
        return [resolve(entry, saved) for entry in value]
    if isinstance(value, dict):
        return {name: resolve(entry, saved) for name, entry in value.items()}
    return value


def put(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=10):
        pass


def run(step, sdk, admin, saved):
    for path, body in step.get("put", {}).items():
        put(admin + path, body)
    params = resolve(step.get("params", {}), saved)
    response, error, started = None, None, time.monotonic()
    try:
        response = call(sdk, step, params)
    except Mismatch:
        raise
    except Exception as raised:  # the SDK's exception is the result to check
        error = raised
    took = (time.monotonic() - started) * 1000
    if "error" in step:
        if error is None:
            raise Mismatch(f"expected {step['error']}, got a response: {response!r:.300}")
        check_error(step["error"], error)
    elif "lost" in step:
        if isinstance(error, exceptions.AlibabaCloudException) and error.code not in (None, "None"):
            raise Mismatch(f"expected no response, got the error {error.code}")
        if error is None and response.get("RequestId"):
            raise Mismatch(f"expected no response, got {response!r:.300}")
    elif error is not None:
        raise Mismatch(f"{type(error).__name__}: {error}")
    else:
        match("response", {"RequestId": {"$any": True}, **resolve(step["ok"], saved)}, response)
        saved.update({name: response[field] for name, field in step.get("save", {}).items()})
    if took < step.get("atLeastMs", 0):
        raise Mismatch(f"the call took {took:.0f} ms, less than {step['atLeastMs']} ms")


def main():
    url, admin, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        scenario = json.load(file)
    clients = {name: client(url, key) for name, key in scenario["keys"].items()}
    saved, failed = {}, 0
    for step in scenario["steps"]:
        try:
            run(step, clients[step.get("key", "main")], admin, saved)
            print("ok", step["name"], flush=True)
        except Exception as failure:  # a failed step must not skip the others
            failed += 1
            print(f"FAIL {step['name']}: {failure}", flush=True)
    print(f"conformance {PACKAGE} {version(PACKAGE)}: {len(scenario['steps'])} steps, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
