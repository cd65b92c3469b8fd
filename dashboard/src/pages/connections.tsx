/** Who is connected, with the channels of each connection. */

import { address, type Channel, type Connection, type Page } from '../api';
import { count, device, difficulty, hashrate } from '../format';
import { useResource } from '../resource';
import { replaceQuery, route } from '../route';
import { AccountLink, Failure, Loading, Panel, Time } from '../ui/basic';
import { Pager, type Column, Table } from '../ui/table';

const LIMIT = 50;

interface Row {
  connection: Connection;
  channel: Channel | null;
  isFirst: boolean;
}

const COLUMNS: Column<Row>[] = [
  {
    name: 'Connection',
    heading: true,
    cell: ({ connection, isFirst }) =>
      isFirst && (
        <span title={`Number ${connection.id}, on ${connection.listener}`}>
          <span class="mono">{connection.address}</span>
        </span>
      ),
  },
  {
    name: 'Device',
    wide: true,
    cell: ({ connection, isFirst }) => isFirst && device(connection.device, connection.protocol),
  },
  { name: 'Since', wide: true, cell: ({ connection, isFirst }) => isFirst && <Time at={connection.connected_at} /> },
  {
    name: 'Worker',
    cell: ({ channel }) =>
      channel ? (
        <span title={`${channel.kind} channel ${channel.id}, policy ${channel.policy}`}>
          <AccountLink account={channel.account} worker={channel.worker} />
        </span>
      ) : (
        <span class="quiet">no channel</span>
      ),
  },
  { name: 'Difficulty', number: true, cell: ({ channel }) => channel && difficulty(channel.difficulty) },
  { name: '10 min', number: true, cell: ({ channel }) => channel && hashrate(channel.hashrate.m10) },
  { name: 'Shares', number: true, cell: ({ channel }) => channel && count(channel.shares) },
  { name: 'Refused', number: true, wide: true, cell: ({ channel }) => channel && count(channel.rejected.reduce((sum, one) => sum + one.count, 0)) },
  { name: 'Last share', number: true, cell: ({ channel }) => channel && <Time at={channel.last_share_at} /> },
];

export function Connections() {
  const { query } = route.value;
  const search = query.get('search') ?? '';
  const offset = Number(query.get('offset')) || 0;
  const { data, failure } = useResource<Page<Connection>>(address('connections', { search, offset, limit: LIMIT }), 5, ['worker']);
  const rows = data?.items.flatMap((connection): Row[] =>
    connection.channels.length === 0
      ? [{ connection, channel: null, isFirst: true }]
      : connection.channels.map((channel, at) => ({ connection, channel, isFirst: at === 0 })),
  );
  return (
    <>
      <h1>Connections</h1>
      <p class="filter">
        <label>
          Address, account or device{' '}
          <input
            type="search"
            value={search}
            onInput={(event) => replaceQuery({ search: event.currentTarget.value, offset: undefined })}
          />
        </label>
      </p>
      {failure && <Failure failure={failure} stale={data !== undefined} />}
      {data && rows ? (
        <Panel title="Open connections" aside={data.total !== null && <span class="quiet">{count(data.total)} in all</span>}>
          <Table
            caption="Open connections and their channels"
            columns={COLUMNS}
            rows={rows}
            rowKey={({ connection, channel }) => `${connection.id}/${channel?.id ?? ''}`}
            empty={search ? <>No connection matches “{search}”.</> : 'Nobody is connected.'}
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
