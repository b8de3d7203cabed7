'use strict';
// Runs the scenario with an SDK. The file of each SDK contains its specific code.

const { isDeepStrictEqual, inspect } = require('node:util');
const { readFileSync } = require('node:fs');

/** No response of the API: a reset, a timeout or an HTML page. */
class Lost extends Error {}

/** An error of the API, as the SDK's own exception: `got` has `code`, `status` and perhaps `retryAfterMs`. */
class ApiError extends Error {
  constructor(got) {
    super(inspect(got));
    this.got = got;
  }
}

const short = (value) => {
  const text = typeof value === 'string' ? JSON.stringify(value) : inspect(value, { depth: 4, breakLength: Infinity });
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
};

const isEmpty = (value) =>
  value === undefined || value === null || value === '' || value === 0 || value === false ||
  (Array.isArray(value) && value.length === 0);

/** Compares a value with its expectation; see README.md for the notation. */
function match(path, expected, got) {
  let matches;
  if (expected === null) {
    matches = isEmpty(got);
  } else if (Array.isArray(expected)) {
    matches = Array.isArray(got) && got.length === expected.length;
    if (matches) expected.forEach((value, at) => match(`${path}[${at}]`, value, got[at]));
  } else if (typeof expected !== 'object') {
    matches = isDeepStrictEqual(expected, got);
  } else if ('$any' in expected) {
    matches = !isEmpty(got);
  } else if ('$count' in expected) {
    matches = Array.isArray(got) && got.length === expected.$count;
  } else {
    matches = got !== null && typeof got === 'object' && !Array.isArray(got);
    if (matches) Object.entries(expected).forEach(([name, value]) => match(`${path}.${name}`, value, got[name]));
  }
  if (!matches) throw new Error(`${path}: expected ${short(expected)}, got ${short(got)}`);
}

/** Replaces `$name` with the value that an earlier step saved. */
function resolve(value, saved) {
  if (typeof value === 'string') {
    return value.startsWith('$') && saved.has(value.slice(1)) ? saved.get(value.slice(1)) : value;
  }
  if (Array.isArray(value)) return value.map((entry) => resolve(entry, saved));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, resolve(entry, saved)]));
}

async function put(url, body) {
  const response = await fetch(url, { method: 'PUT', body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`PUT ${url}: ${response.status}`);
}

/** The result of the call: `{ response }` or `{ error }`. */
async function callSdk(sdk, client, step, params) {
  try {
    const response = await sdk.call(client, step.operation, params, step.timeoutMs ?? 10_000);
    return { response };
  } catch (raised) {
    const got = sdk.apiError(raised);
    return { error: got ? new ApiError(got) : new Lost(`${raised.name}: ${raised.message}`) };
  }
}

async function run(sdk, client, step, admin, saved) {
  for (const [path, body] of Object.entries(step.put ?? {})) await put(admin + path, body);
  const params = resolve(step.params ?? {}, saved);
  const started = performance.now();
  const { response, error } = await callSdk(sdk, client, step, params);
  const took = performance.now() - started;
  if (step.error) {
    if (!(error instanceof ApiError)) throw error ?? new Error(`expected ${short(step.error)}, got ${short(response)}`);
    if (!isDeepStrictEqual(error.got, step.error)) {
      throw new Error(`expected ${short(step.error)}, got ${short(error.got)}`);
    }
  } else if (step.lost) {
    if (error ? error instanceof ApiError : response?.RequestId) {
      throw new Error(`expected no response, got ${short(response ?? error.got)}`);
    }
  } else {
    if (error) throw error;
    match('response', { RequestId: { $any: true }, ...resolve(step.ok, saved) }, response);
    for (const [name, field] of Object.entries(step.save ?? {})) saved.set(name, response[field]);
  }
  if (took < (step.atLeastMs ?? 0)) throw new Error(`the call took ${took} ms, less than ${step.atLeastMs} ms`);
}

/**
 * Runs all steps through an SDK. `sdk` has the package's `name` and `version`, `client(url, key)`,
 * `call(client, operation, params, timeoutMs)`, and `apiError(raised)`, which returns undefined unless the API sent an error.
 */
module.exports = async function main(sdk) {
  const [url, admin, path] = process.argv.slice(2);
  const scenario = JSON.parse(readFileSync(path, 'utf8'));
  const clients = new Map(Object.entries(scenario.keys).map(([name, key]) => [name, sdk.client(url, key)]));
  const saved = new Map();
  let failed = 0;
  for (const step of scenario.steps) {
    try {
      await run(sdk, clients.get(step.key ?? 'main'), step, admin, saved);
      console.log('ok', step.name);
    } catch (failure) {
      failed += 1;
      console.log(`FAIL ${step.name}: ${failure.message}`);
    }
  }
  console.log(`conformance ${sdk.name} ${sdk.version}: ${scenario.steps.length} steps, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
};
