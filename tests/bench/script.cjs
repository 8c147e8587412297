/* The way the Bridge's documentation shows, as the baseline of scripts/bench: log in, subscribe, compare four fields, POST
 * each match to the provider. Kept as simple as it is there; only addresses and ids come from the environment.
 * Debian: node-ws. */
'use strict';
const WebSocket = require('ws');
const http = require('http');

const {BRIDGE, KEY_ID, KEY_SECRET, PROVIDER, TOKEN, THREAD, NUMBER} = process.env;
const agent = new http.Agent({keepAlive: true, maxSockets: 16});
let seen = 0, sent = 0, failed = 0;

async function rpc(method, params) {
    const answer = await fetch(BRIDGE, {method: 'POST', headers: {'Content-Type': 'application/json'},
        body: JSON.stringify({jsonrpc: '2.0', id: 1, method, params})});
    return (await answer.json()).result;
}

function sendSms(to, message) {
    const body = JSON.stringify({details: true, encoding: 'utf-8', format: 'json', to, message});
    const request = http.request(PROVIDER + '/sms.do', {method: 'POST', agent, headers: {
        'Content-Type': 'application/json', Authorization: 'Bearer ' + TOKEN, 'Content-Length': Buffer.byteLength(body)}},
        answer => {
            let text = '';
            answer.on('data', part => text += part);
            answer.on('end', () => JSON.parse(text).error ? failed++ : sent++);
        });
    request.on('error', () => failed++);
    request.end(body);
}

function onEvent(text) {
    const event = JSON.parse(text);
    seen++;
    if (event.channel === 'thread' && event.type === 'threadNewMessage' && event.data.threadId === THREAD)
        sendSms(NUMBER, 'New message ' + event.data.id);
}

(async () => {
    const login = await rpc('manager/auth', {grantType: 'api_key_credentials', apiKeyId: KEY_ID, apiKeySecret: KEY_SECRET});
    const socket = new WebSocket(BRIDGE.replace('http', 'ws'));
    const waiting = new Map();
    let next = 1;
    const call = (method, params) => new Promise(resolve => {
        waiting.set(next, resolve);
        socket.send(JSON.stringify({jsonrpc: '2.0', id: next++, method, params}));
    });
    socket.on('message', data => {
        const text = data.toString();
        if (!text.startsWith('{"jsonrpc"'))
            return onEvent(text);
        const answer = JSON.parse(text);
        waiting.get(answer.id)(answer.result);
        waiting.delete(answer.id);
    });
    await new Promise(resolve => socket.on('open', resolve));
    await call('manager/bindAccessToken', {accessToken: login.accessToken});
    await call('manager/subscribeToChannel', {channels: ['thread']});
    console.log('subscribed');
    process.on('SIGTERM', () => { console.log(JSON.stringify({seen, sent, failed})); process.exit(0); });
})();
