/** Tables: sortable by their headings, scrollable where the screen is narrow, in pages where they are long. */

import type { ComponentChildren, Key } from 'preact';
import { count } from '../format';

export interface Column<T> {
  name: string;
  cell: (row: T) => ComponentChildren;
  /** Right-aligned. */
  number?: boolean;
  /** The row's heading. */
  heading?: boolean;
  /** Left out on narrow screens. */
  wide?: boolean;
  /** What it is sorted by, if it can be. */
  order?: string;
}

export interface Order {
  by: string;
  choose: (by: string) => void;
  /** Whether the smallest comes first, for this order. */
  ascending: (by: string) => boolean;
}

export function Table<T>(props: {
  caption: string;
  columns: Column<T>[];
  rows: T[];
  rowKey: (row: T) => Key;
  order?: Order;
  empty: ComponentChildren;
  /** More about a row, in a row of its own below it. */
  detail?: (row: T) => ComponentChildren;
  current?: (row: T) => boolean;
}) {
  const { caption, columns, rows, order, detail } = props;
  if (rows.length === 0) return <p class="quiet">{props.empty}</p>;
  return (
    <div class="scroll" role="region" aria-label={caption} tabIndex={0}>
      <table>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <Heading key={column.name} column={column} order={order} />
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => {
            const more = detail?.(row);
            return [
              <tr key={props.rowKey(row)} class={[props.current?.(row) && 'current', more && 'open'].filter(Boolean).join(' ')}>
                {columns.map((column) =>
                  column.heading ? (
                    <th key={column.name} scope="row" class={classes(column)}>
                      {column.cell(row)}
                    </th>
                  ) : (
                    <td key={column.name} class={classes(column)}>
                      {column.cell(row)}
                    </td>
                  ),
                )}
              </tr>,
              more && (
                <tr key={`${props.rowKey(row)}-detail`} class="detail">
                  <td colSpan={columns.length}>
                    <div>{more}</div>
                  </td>
                </tr>
              ),
            ];
          })}
        </tbody>
      </table>
    </div>
  );
}

function classes<T>({ number, wide }: Column<T>): string {
  return [number && 'number', wide && 'wide'].filter(Boolean).join(' ');
}

function Heading<T>({ column, order }: { column: Column<T>; order: Order | undefined }) {
  const by = column.order;
  if (by === undefined || order === undefined) {
    return (
      <th scope="col" class={classes(column)}>
        {column.name}
      </th>
    );
  }
  const sorted = order.by === by ? (order.ascending(by) ? 'ascending' : 'descending') : 'none';
  return (
    <th scope="col" class={classes(column)} aria-sort={sorted}>
      <button type="button" class="sort" onClick={() => order.choose(by)}>
        {column.name}
      </button>
    </th>
  );
}

/** Which part of a long list is shown, and the way to the others. */
export function Pager(props: { offset: number; limit: number; shown: number; total: number | null; go: (offset: number) => void }) {
  const { offset, limit, shown, total } = props;
  const isLast = total === null ? shown < limit : offset + shown >= total;
  if (offset === 0 && isLast) return null;
  return (
    <nav class="pager" aria-label="Pages of the list">
      <button type="button" disabled={offset === 0} onClick={() => props.go(Math.max(0, offset - limit))}>
        Previous
      </button>
      <span>
        {shown === 0 ? 'none here' : `${count(offset + 1)} to ${count(offset + shown)}`}
        {total !== null && ` of ${count(total)}`}
      </span>
      <button type="button" disabled={isLast} onClick={() => props.go(offset + limit)}>
        Next
      </button>
    </nav>
  );
}
