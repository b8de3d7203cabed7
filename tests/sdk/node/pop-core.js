'use strict';
// Runs the conformance scenario through the classic Node core, @alicloud/pop-core (signature V1, generic call).
//
// usage: node pop-core.js EMULATOR_URL ADMIN_URL SCENARIO GET|POST
//
// GET sends all parameters in the query, POST in a form body.

const { RPCClient } = require('@alicloud/pop-core');
const main = require('./scenario.js');

const method = process.argv[5];

main({
  name: '@alicloud/pop-core',
  version: `${require('@alicloud/pop-core/package.json').version}, ${method}`,

  client: (url, key) =>
    new RPCClient({
      accessKeyId: key.id,
      accessKeySecret: key.secret,
      securityToken: key.token,
      endpoint: url,
      apiVersion: '2016-11-01',
    }),

  call: (client, operation, params, timeoutMs) => client.request(operation, params, { method, timeout: timeoutMs }),

  apiError(raised) {
    const { code, data, entry } = raised;
    if (data?.Code === undefined || data.Code !== code || raised.name !== `${code}Error`) return undefined;
    const after = entry.response.headers['x-acs-retry-after'];
    const got = { code, status: entry.response.statusCode };
    return after === undefined ? got : { ...got, retryAfterMs: Number(after) };
  },
});
