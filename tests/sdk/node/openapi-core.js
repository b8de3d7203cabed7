'use strict';
// Runs the conformance scenario through the Node core, @alicloud/openapi-core (signature V3, generic call).
//
// usage: node openapi-core.js EMULATOR_URL ADMIN_URL SCENARIO

const { $OpenApiUtil, OpenApiUtil, default: Client, ...exceptions } = require('@alicloud/openapi-core');
const { RuntimeOptions } = require('@darabonba/typescript');
const main = require('./scenario.js');

// The generated product SDKs use POST except for these operations, put parameters into the query and join arrays with
// commas.
const GET = new Set(['ListLiveMessageGroupByPage']);

function query(params) {
  const joined = Object.entries(params).map(([name, value]) => [
    name,
    Array.isArray(value) ? OpenApiUtil.arrayToStringWithSpecifiedStyle(value, name, 'simple') : value,
  ]);
  return OpenApiUtil.query(Object.fromEntries(joined));
}

/** The exception class of the SDK for an API error. */
function expectedException(code, status) {
  if (code.includes('Throttling')) return exceptions.ThrottlingError;
  return status < 500 ? exceptions.ClientError : exceptions.ServerError;
}

main({
  name: '@alicloud/openapi-core',
  version: require('@alicloud/openapi-core/package.json').version,

  client: (url, key) =>
    new Client(
      new $OpenApiUtil.Config({
        accessKeyId: key.id,
        accessKeySecret: key.secret,
        securityToken: key.token,
        protocol: 'http',
        endpoint: url.replace('http://', ''),
        regionId: 'cn-shanghai',
      }),
    ),

  async call(client, operation, params, timeoutMs) {
    const description = new $OpenApiUtil.Params({
      action: operation,
      version: '2016-11-01',
      protocol: 'HTTPS',
      pathname: '/',
      method: GET.has(operation) ? 'GET' : 'POST',
      authType: 'AK',
      style: 'RPC',
      reqBodyType: 'formData',
      bodyType: 'json',
    });
    const request = new $OpenApiUtil.OpenApiRequest({ query: query(params) });
    const runtime = new RuntimeOptions({ readTimeout: timeoutMs, connectTimeout: 5_000 });
    return (await client.callApi(description, request, runtime)).body;
  },

  apiError(raised) {
    const { code, statusCode: status, retryAfter } = raised;
    if (!(raised instanceof exceptions.AlibabaCloudError) || code === 'undefined') return undefined;
    if (raised.constructor !== expectedException(code, status)) return { code: `${code} as ${raised.name}`, status };
    return retryAfter === undefined ? { code, status } : { code, status, retryAfterMs: retryAfter };
  },
});
