import { useEffect, useState } from 'preact/hooks';

/** The time, renewed every ms while the page can be seen. */
export function useNow(ms: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const t = setInterval(() => {
      if (!document.hidden) setNow(Date.now());
    }, ms);
    return () => clearInterval(t);
  }, [ms]);
  return now;
}
