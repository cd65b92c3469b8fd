/** Something of the API that a page shows, kept fresh. */

import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiFailure, get } from './api';
import { reconnects, type Topic, versions } from './live';

export interface Resource<T> {
  /** The newest answer, undefined before there is one; it stays while the next one is awaited, and when that fails. */
  data: T | undefined;
  /** Why there is no newer one. */
  failure: ApiFailure | null;
}

/** Events that come in heaps, such as a hundred workers, are one reason to look. */
const GATHER_MS = 400;
/** After a failure it is tried again so soon, in seconds. */
const RETRY_S = 5;

/**
 * Asks for `url` now, every `seconds`, and when something happened to one of `topics`. Hidden pages do not ask; they do so when they are
 * seen again.
 */
export function useResource<T>(url: string | null, seconds: number, topics: Topic[] = []): Resource<T> {
  const [state, setState] = useState<Resource<T> & { url: string | null }>({ url, data: undefined, failure: null });
  const version = topics.map((topic) => versions.value[topic]).join() + `,${reconnects.value}`;

  const soon = useRef<() => void>(() => undefined);

  useEffect(() => {
    if (url === null) return;
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let gathering: ReturnType<typeof setTimeout> | undefined;
    const look = async () => {
      clearTimeout(timer);
      clearTimeout(gathering);
      gathering = undefined;
      let hasFailed = false;
      if (!document.hidden) {
        try {
          const data = await get<T>(url, abort.signal);
          setState({ url, data, failure: null });
        } catch (error) {
          if (abort.signal.aborted) return;
          hasFailed = true;
          const failure = error instanceof ApiFailure ? error : new ApiFailure(0, String(error));
          // What is no longer there is not shown as if it were.
          setState((old) => ({ url, data: old.url === url && failure.status !== 404 ? old.data : undefined, failure }));
        }
      }
      clearTimeout(timer);
      if (!abort.signal.aborted) timer = setTimeout(look, (hasFailed ? Math.min(seconds, RETRY_S) : seconds) * 1000);
    };
    const seen = () => {
      if (!document.hidden) void look();
    };
    // Events without end must not put it off without end: the first one sets the time.
    soon.current = () => (gathering ??= setTimeout(look, GATHER_MS));
    document.addEventListener('visibilitychange', seen);
    void look();
    return () => {
      abort.abort();
      clearTimeout(timer);
      clearTimeout(gathering);
      soon.current = () => undefined;
      document.removeEventListener('visibilitychange', seen);
    };
  }, [url, seconds]);

  const isFirst = useRef(true);
  useEffect(() => {
    if (!isFirst.current) soon.current();
    isFirst.current = false;
  }, [version]);

  // An answer to another question is none.
  return state.url === url ? state : { data: undefined, failure: null };
}
