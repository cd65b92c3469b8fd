/** All accounts of the pool. */

import { useEffect, useState } from 'preact/hooks';
import { type AccountSummary, address, type Page } from '../api';
import { count, difficulty, hashrate } from '../format';
import { useResource } from '../resource';
import { replaceQuery, route } from '../route';
import { AccountLink, Failure, Loading, Panel, Time } from '../ui/basic';
import { type Column, Pager, Table } from '../ui/table';

const LIMIT = 50;
/** Typing is followed after this pause. */
const PAUSE_MS = 250;

const COLUMNS: Column<AccountSummary>[] = [
  { name: 'Account', heading: true, order: 'name', cell: (one) => <AccountLink account={one.account} /> },
  {
    name: 'Online',
    number: true,
    cell: (one) => (
      <span title={`${one.workers_online} of ${one.workers} workers are online`}>
        {count(one.workers_online)} of {count(one.workers)}
      </span>
    ),
  },
  { name: '10 min', number: true, cell: (one) => hashrate(one.hashrate.m10) },
  { name: '24 h', number: true, wide: true, cell: (one) => hashrate(one.hashrate.h24) },
  { name: 'Shares', number: true, wide: true, cell: (one) => count(one.shares) },
  { name: 'Work', number: true, wide: true, order: 'work', cell: (one) => <span title="Expected hashes for all accepted shares">{difficulty(one.work)}</span> },
  { name: 'Best', number: true, order: 'best', cell: (one) => difficulty(one.best) },
  { name: 'Last share', number: true, order: 'last_share', cell: (one) => <Time at={one.last_share_at} /> },
];

export function Miners() {
  const { query } = route.value;
  const search = query.get('search') ?? '';
  const order = query.get('order') ?? 'work';
  const offset = Number(query.get('offset')) || 0;
  const url = address('accounts', { search, order, offset, limit: LIMIT });
  const { data, failure } = useResource<Page<AccountSummary>>(url, 10, ['worker']);
  return (
    <>
      <h1>Miners</h1>
      <Filter search={search} />
      {failure && <Failure failure={failure} stale={data !== undefined} />}
      {data ? (
        <Panel title="Accounts" aside={data.total !== null && <span class="quiet">{count(data.total)} in all</span>}>
          <Table
            caption="Accounts"
            columns={COLUMNS}
            rows={data.items}
            rowKey={(one) => one.account}
            order={{
              by: order,
              ascending: (by) => by === 'name',
              choose: (by) => replaceQuery({ order: by, offset: undefined }),
            }}
            empty={
              search ? (
                <>No account has “{search}” in its name.</>
              ) : (
                <>
                  No miner yet. An account is made with its first accepted share: <a href="#/connect">connect like this</a>.
                </>
              )
            }
          />
          <Pager
            offset={data.offset}
            limit={LIMIT}
            shown={data.items.length}
            total={data.total}
            go={(to) => replaceQuery({ offset: to || undefined })}
          />
        </Panel>
      ) : (
        !failure && <Loading />
      )}
    </>
  );
}

function Filter({ search }: { search: string }) {
  const [text, setText] = useState(search);
  useEffect(() => setText(search), [search]);
  useEffect(() => {
    if (text === search) return;
    const timer = setTimeout(() => replaceQuery({ search: text, offset: undefined }), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <p class="filter">
      <label>
        Search <input type="search" value={text} onInput={(event) => setText(event.currentTarget.value)} />
      </label>
    </p>
  );
}
