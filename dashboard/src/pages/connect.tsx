/** How to connect a miner, and what this page is. */

import type { Listener, Pool } from '../api';
import { pool } from '../live';
import { Copy, Loading, Panel, Time } from '../ui/basic';

/** The host of a listener as a miner reaches it: one that listens everywhere is reached where this page is. */
export function reachable(address: string, page: string): string {
  return address.replace(/^(0\.0\.0\.0|\[::\])(?=:\d+$)/, page);
}

/** The addresses that a miner can be given for a listener. */
export function miningUrls(listener: Listener, key: string | null, page: string): { name: string; url: string }[] {
  const host = reachable(listener.address, page);
  const urls = [];
  if (listener.noise && key !== null) urls.push({ name: 'Stratum V2', url: `stratum2+tcp://${host}/${key}` });
  if (!listener.noise) urls.push({ name: 'Stratum V2, not encrypted', url: `stratum2+tcp://${host}` });
  if (listener.v1) urls.push({ name: 'Stratum V1', url: `stratum+tcp://${host}` });
  return urls;
}

/** All of the pool's addresses, each with a button that copies it. */
export function Addresses({ state, account }: { state: Pool; account?: string }) {
  return (
    <dl class="addresses">
      {state.listeners.flatMap((listener) =>
        miningUrls(listener, state.authority_key, location.hostname).map(({ name, url }) => (
          <div key={`${listener.name} ${name}`}>
            <dt>
              {name} {state.listeners.length > 1 && listener.name !== listener.address && `· ${listener.name}`}
            </dt>
            <dd>
              <code data-copy>{url}</code> <Copy text={url} what={`the address for ${name}`} />
            </dd>
          </div>
        )),
      )}
      {account !== undefined && (
        <div>
          <dt>User name</dt>
          <dd>
            <code data-copy>{account}.worker</code> <Copy text={`${account}.worker`} what="the user name" />
          </dd>
        </div>
      )}
    </dl>
  );
}

export function Connect() {
  const state = pool.value;
  if (state === null) return <Loading />;
  return (
    <>
      <h1>Connect a miner</h1>
      <Panel title="Address of the pool">
        <p>Copy the one for your miner’s firmware into its field for the pool, or “URL”.</p>
        <Addresses state={state} />
        {state.authority_key !== null && (
          <p class="quiet">
            The last part of a Stratum V2 address is the pool’s key. With it your miner knows that it talks to this pool and to nobody in
            between.
          </p>
        )}
      </Panel>
      <Panel title="User name">
        <p>It says who is credited, and which of your devices it is:</p>
        <dl class="facts">
          <dt>
            <code>account.worker</code>
          </dt>
          <dd>The account is your bitcoin address, or a name where the pool keeps accounts by name. The worker is a name for the device.</dd>
          <dt>
            <code>address.worker</code>
          </dt>
          <dd>On a solo listener, a block that you find pays this address.</dd>
          <dt>
            <code>address.worker;donate=1</code>
          </dt>
          <dd>The same, with 1 % of it for the pool.</dd>
          <dt>
            <code>solo:address.worker</code>
          </dt>
          <dd>Chooses how you are paid where there is a choice: <code>solo:</code> or <code>pool:</code>.</dd>
        </dl>
        <p class="quiet">Any password will do. A wrong address is refused when the miner connects, and its log says why.</p>
      </Panel>
      <Panel title="Then">
        <p>
          Search your account in the field above (press <kbd>/</kbd>) and bookmark its page. It shows your workers within seconds of their
          first share.
        </p>
      </Panel>
      <Panel title="About">
        <dl class="facts">
          <dt>Pool</dt>
          <dd>
            {state.name} {state.version}, started <Time at={state.started_at} />
          </dd>
          <dt>Network</dt>
          <dd>{state.network}</dd>
          <dt>Tag in blocks</dt>
          <dd>
            <code>{state.coinbase_tag}</code>
          </dd>
          <dt>For programs</dt>
          <dd>
            <a href="/docs">the API</a>, <a href="/openapi.json">its OpenAPI document</a>
          </dd>
          <dt>Made with</dt>
          <dd>
            <a href="/LICENCES.txt">libraries and their licences</a>
          </dd>
        </dl>
      </Panel>
    </>
  );
}
