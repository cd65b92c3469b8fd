/** Hashrate over time. */

import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { address, type Hashrates, type History } from '../api';
import { axisRate, hashrate, moment } from '../format';
import { type Curve, curve, RANGES, type Range, span } from '../history';
import { now } from '../live';
import { useResource } from '../resource';
import { replaceQuery, route } from '../route';
import { theme } from '../theme';
import { Failure, Rates } from './basic';

const HEIGHT = 260;
const HOUR_MINUTE = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
/** Steps between labels that are days, in seconds. */
const DAYS = [1, 2, 4, 7, 14, 28, 56, 91, 182].map((days) => days * 86_400);
const DAY_MONTH = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

/** The history of the pool, an account or a worker, with the choice of its length. The choice is part of the page's address. */
export function HashrateChart(props: {
  subject: string;
  account?: string;
  worker?: string;
  /** When it had its first share, if that is known. */
  since?: number;
  now: Hashrates;
}) {
  const { subject, account, worker } = props;
  const range = RANGES.find(({ id }) => id === route.value.query.get('period')) ?? RANGES[0];
  const { from, to } = span(range, now.value);
  const bucket = range.bucket * 1000;
  const url = address('history', { subject, account, worker, period: range.period, from, to: to + bucket });
  const { data, failure } = useResource<History>(url, range.bucket > 60 ? 60 : 15);
  // While the next span is awaited, the last one stays.
  const [shown, setShown] = useState<{ curve: Curve; range: Range; of: string } | null>(null);
  const of = [subject, account, worker].join('\n');
  useEffect(() => {
    if (data) setShown({ curve: curve(data.points, range, from, to, props.since ?? null, now.peek()), range, of });
  }, [data]);
  const isCurrent = shown !== null && shown.of === of && shown.range === range;
  return (
    <div class="chart">
      <div class="chart-head">
        <Rates value={props.now} />
        <div class="choice" role="group" aria-label="Period of the plot">
          {RANGES.map(({ id, name }) => (
            <button type="button" key={id} aria-pressed={id === range.id} onClick={() => replaceQuery({ period: id })}>
              {name}
            </button>
          ))}
        </div>
      </div>
      {failure && <Failure failure={failure} stale={isCurrent} />}
      {isCurrent && !shown.curve.rates.some((rate) => rate > 0) ? (
        <p class="plot quiet none">No accepted share in this time.</p>
      ) : isCurrent ? (
        <Plot curve={shown.curve} range={range} />
      ) : (         <div class="plot" aria-busy="true" />
      )}
    </div>
  );
}

function Plot({ curve, range }: { curve: Curve; range: Range }) {
  const holder = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState<number | null>(null);
  const colours = theme.value;

  useEffect(() => {
    const element = holder.current;
    if (!element) return;
    const plot = new uPlot(options(element, range, setAt), [curve.times, curve.rates], element);
    const follow = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    follow.observe(element);
    return () => {
      follow.disconnect();
      plot.destroy();
    };
  }, [curve, range, colours]);

  const { times, rates } = curve;
  const highest = Math.max(0, ...rates);
  const average = rates.reduce((sum, rate) => sum + rate, 0) / Math.max(1, rates.length);
  return (
    <>
      <div
        class="plot"
        ref={holder}
        role="img"
        aria-label={`Hashrate over ${range.name}: ${hashrate(average)} on average, ${hashrate(highest)} at most`}
      />
      <p class="readout">
        {at !== null && times[at] !== undefined ? (
          <>
            <strong>{hashrate(rates[at] as number)}</strong> {moment(times[at] * 1000).replace(/:\d\d$/, '')}
          </>
        ) : (
          <>
            <strong>{hashrate(average)}</strong> on average, {hashrate(highest)} at most
          </>
        )}
      </p>
      <Figures curve={curve} range={range} />
    </>
  );
}

/** The same as a table, for those who do not see the plot or want the numbers. */
function Figures({ curve, range }: { curve: Curve; range: Range }) {
  const [open, setOpen] = useState(false);
  return (
    <details class="figures" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>As a table</summary>
      {open && (
        <div class="scroll tall" role="region" aria-label="Hashrate as a table" tabIndex={0}>
          <table>
            <caption class="hidden">Hashrate over {range.name}, the newest first</caption>
            <thead>
              <tr>
                <th scope="col">From</th>
                <th scope="col" class="number">
                  Hashrate
                </th>
              </tr>
            </thead>
            <tbody>
              {curve.times
                .map((time, at) => (
                  <tr key={time}>
                    <th scope="row">{moment(time * 1000).replace(/:\d\d$/, '')}</th>
                    <td class="number">{hashrate(curve.rates[at] as number)}</td>
                  </tr>
                ))
                .reverse()}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}

function options(element: HTMLElement, range: Range, setAt: (at: number | null) => void): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const font = `12px ${getComputedStyle(element).fontFamily}`;
  const axis = { stroke: colour('--quiet'), font, grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
  const days = range.seconds > 2 * 86_400;
  const label = days ? DAY_MONTH : HOUR_MINUTE;
  return {
    width: element.clientWidth,
    height: HEIGHT,
    padding: [12, 20, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 8 }, drag: { setScale: false, x: false, y: false } },
    hooks: { setCursor: [(plot) => setAt(plot.cursor.idx ?? null)] },
    scales: { y: { range: (_, __, highest) => [0, highest > 0 ? highest * 1.1 : 1] } },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 28,
        space: 70,
        ...(days ? { incrs: DAYS } : {}),
        values: (_, splits) => splits.map((at) => label.format(at * 1000)),
      },
      {
        ...axis,
        size: (_, values) => 16 + 6.5 * Math.max(4, ...(values ?? []).map((value) => value.length)),
        space: 45,
        values: (_, splits) => splits.map(axisRate),
      },
    ],
    series: [
      {},
      {
        stroke: colour('--accent-line'),
        fill: colour('--accent-fill'),
        width: 1.75,
        // Of a few, the line may be none.
        points: { show: (plot) => (plot.data[0]?.length ?? 0) < 12, size: 5 },
      },
    ],
  };
}
