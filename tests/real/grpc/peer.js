// A server of gRPC that follows scripts and counts attempts, and a client that makes calls by a service config. Both are
// the ones of @grpc/grpc-js.
//
//   node peer.js serve
//     prints its port. A call's text is a script in JSON: {"id": "a call", "attempts": [{"after": 5, "code": 14, "pushback": "100"}]}.
//     Attempt k is answered by entry k, and never if there is none. /hedge.real.Scripted/Count gives the attempts of an id.
//   node peer.js call ADDRESS SERVICE_CONFIG SCRIPT [TIMEOUT_MS]
//     makes one call, and prints its code and how long it took.

'use strict';

const grpc = require('@grpc/grpc-js');

// A message of protobuf with one string, number 1.
function serialize(text) {
  const bytes = Buffer.from(text);
  const prefix = [0x0a];
  let left = bytes.length;
  while (left > 127) {
    prefix.push((left & 127) | 128);
    left >>= 7;
  }
  prefix.push(left);
  return Buffer.concat([Buffer.from(prefix), bytes]);
}

function deserialize(message) {
  let start = 1;
  while (message[start] > 127) start += 1;
  return message.subarray(start + 1).toString();
}

const method = (name) => ({
  path: `/hedge.real.Scripted/${name}`,
  requestStream: false,
  responseStream: false,
  requestSerialize: serialize,
  requestDeserialize: deserialize,
  responseSerialize: serialize,
  responseDeserialize: deserialize,
});
const service = { call: method('Call'), count: method('Count') };

function serve() {
  const counts = new Map();
  const call = (asked, callback) => {
    const script = JSON.parse(asked.request);
    const number = counts.get(script.id) ?? 0;
    counts.set(script.id, number + 1);
    const attempt = script.attempts[number];
    if (attempt === undefined) return;
    setTimeout(() => {
      if (!attempt.code) {
        callback(null, `answer ${number}`);
        return;
      }
      const metadata = new grpc.Metadata();
      if (attempt.pushback !== undefined) metadata.set('grpc-retry-pushback-ms', attempt.pushback);
      callback({ code: attempt.code, details: 'as the script says', metadata });
    }, attempt.after);
  };
  const count = (asked, callback) => callback(null, String(counts.get(asked.request) ?? 0));
  const server = new grpc.Server();
  server.addService(service, { call, count });
  server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    console.log(port);
  });
}

function call(address, config, script, timeout) {
  const Client = grpc.makeGenericClientConstructor(service, 'Scripted');
  const client = new Client(address, grpc.credentials.createInsecure(), {
    'grpc.service_config': config,
    'grpc.enable_retries': 1,
    'grpc.enable_http_proxy': 0,
  });
  client.waitForReady(Date.now() + 10_000, (error) => {
    if (error) throw error;
    const start = Date.now();
    const options = timeout === undefined ? {} : { deadline: start + Number(timeout) };
    client.call(script, options, (error) => {
      console.log(`${error ? error.code : 0} ${Date.now() - start}`);
      // Lets attempts that are about to be cancelled be counted first.
      setTimeout(() => client.close(), 50);
    });
  });
}

const [role, ...rest] = process.argv.slice(2);
if (role === 'serve') serve();
else call(...rest);
