import { signal } from '@preact/signals';

/** The stream whose page is open; null for the list. Addresses are /#/streams/{id}. */
export const openStream = signal<string | null>(read());

function read(): string | null {
  return /^#\/streams\/([\w-]+)$/.exec(location.hash)?.[1] ?? null;
}

addEventListener('hashchange', () => {
  openStream.value = read();
  scrollTo(0, 0);
});

export function linkTo(id: string): string {
  return `#/streams/${id}`;
}
