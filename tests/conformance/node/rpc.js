// Calls of ECS, RAM and STS. Arguments: endpoint, access key, secret, pop-core or tea. Reads the scenario from stdin.
"use strict";
const [endpoint, accessKeyId, accessKeySecret, kind] = process.argv.slice(2);
const VERSIONS = { ecs: "2014-05-26", ram: "2015-05-01", sts: "2015-04-01" };
const PACKAGES = { ecs: "@alicloud/ecs20140526", ram: "@alicloud/ram20150501" };

function popSend() {
  const { RPCClient } = require("@alicloud/pop-core");
  return async (service, action, parameters) => {
    const client = new RPCClient({ accessKeyId, accessKeySecret, endpoint, apiVersion: VERSIONS[service] });
    return client.request(action, parameters, { method: "POST" });
  };
}

function teaSend() {
  const { $OpenApiUtil } = require("@alicloud/openapi-core");
  const $dara = require("@darabonba/typescript");
  const config = () => new $OpenApiUtil.Config({
    accessKeyId, accessKeySecret, endpoint: endpoint.replace("http://", ""), protocol: "http", regionId: "cn-hangzhou",
  });
  return async (service, action, parameters) => {
    if (!PACKAGES[service]) return null; // there is no package for STS among the dependencies
    const sdk = require(PACKAGES[service]);
    const client = new sdk.default(config());
    const method = action[0].toLowerCase() + action.slice(1);
    const Request = sdk[`${action}Request`];
    const request = Request ? [$dara.cast(parameters, new Request({}))] : [];
    return (await client[method](...request)).body.toMap();
  };
}

function filled(value, saved) {
  if (typeof value === "string") return value.replace(/\{(\w+)\}/g, (all, name) => saved[name] ?? all);
  if (Array.isArray(value)) return value.map((each) => filled(each, saved));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, filled(each, saved)]));
  }
  return value;
}

const found = (answer, path) => path.split(".").reduce((inner, step) => inner[step], answer);

async function configure(settings) {
  const answer = await fetch(`${endpoint}/_sandbox/settings`, { method: "POST", body: JSON.stringify(settings) });
  if (answer.status !== 200) throw new Error(await answer.text());
}

async function main() {
  let text = "";
  for await (const chunk of process.stdin) text += chunk;
  const { calls, settings } = JSON.parse(text);
  const send = kind === "tea" ? teaSend() : popSend();
  const saved = {};
  for (const call of calls) {
    await configure({ ...settings, ...call.settings });
    let result = "ok";
    try {
      const answer = await send(call.service, call.action, filled(call.parameters, saved));
      if (answer === null) continue;
      for (const [name, path] of Object.entries(call.save)) saved[name] = String(found(answer, path));
      if (call.code) result = `wrong: not refused with ${call.code}`;
    } catch (error) {
      const code = String(error.code || error.name);
      if (code.includes("NotImplementedBySandbox")) result = "501";
      else if (!call.code || !code.includes(call.code)) result = `wrong: ${code}: ${error.message}`;
    }
    console.log(JSON.stringify({ operation: call.action, result }));
  }
}

main();
