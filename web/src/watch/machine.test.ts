import { describe, expect, it } from 'vitest';
import {
  after,
  type Facts,
  type Happening,
  pollDelay,
  START,
  type State,
  stateOf,
  wantsEngine,
} from './machine';
import { badgeFor, wordsFor } from './words';

const status = (s: Happening & { type: 'status' } extends { status: infer S } ? S : never): Happening => ({
  type: 'status',
  status: s,
});
const picture = (p: Facts['picture']): Happening => ({ type: 'picture', picture: p });
const unreachable: Happening = { type: 'unreachable', code: 'unreachable' };
const fault: Happening = { type: 'fault', code: 'codec_unsupported' };

const recorded: Happening = { type: 'status', status: 'recorded', kept: true };
const on = (s: 'active' | 'idle'): Happening => ({ type: 'status', status: s, kept: true });

describe('the watch page', () => {
  // Each story is what happens, and the state after it.
  const stories: Record<string, [Happening, State][]> = {
    'starts by itself, is lost, comes back, ends, and begins again': [
      [status('idle'), 'offline'],
      [status('active'), 'starting'],
      [picture('waiting'), 'starting'],
      [picture('moving'), 'playing'],
      [picture('still'), 'reconnecting'],
      [status('reconnecting'), 'reconnecting'],
      [status('active'), 'reconnecting'],
      [picture('moving'), 'playing'],
      [status('idle'), 'playing'],
      [picture('still'), 'ended'],
      [picture('none'), 'ended'],
      [status('active'), 'starting'],
      [picture('moving'), 'playing'],
    ],
    'says that the host is away although filler moves': [
      [status('active'), 'starting'],
      [picture('moving'), 'playing'],
      [status('reconnecting'), 'reconnecting'],
      [status('active'), 'playing'],
    ],
    'opened while the host is away': [
      [status('reconnecting'), 'reconnecting'],
      [picture('waiting'), 'reconnecting'],
    ],
    'a server that is away at first': [
      [unreachable, 'error'],
      [status('idle'), 'offline'],
    ],
    'keeps playing while only the question fails': [
      [status('active'), 'starting'],
      [picture('moving'), 'playing'],
      [unreachable, 'playing'],
      [picture('still'), 'reconnecting'],
      [status('active'), 'reconnecting'],
      [picture('moving'), 'playing'],
    ],
    'a pause is a pause, until the stream is over': [
      [status('active'), 'starting'],
      [picture('moving'), 'playing'],
      [picture('paused'), 'paused'],
      [unreachable, 'paused'],
      [status('idle'), 'ended'],
    ],
    'the browser wants a click first': [
      [status('active'), 'starting'],
      [picture('paused'), 'paused'],
    ],
    'the playlist ends before the status is known': [
      [status('active'), 'starting'],
      [picture('moving'), 'playing'],
      [picture('finished'), 'ended'],
      [status('idle'), 'ended'],
    ],
    'a codec the browser lacks, until another encoder comes': [
      [status('active'), 'starting'],
      [fault, 'error'],
      [status('active'), 'error'],
      [status('idle'), 'offline'],
      [status('active'), 'starting'],
    ],
    'switched off and on': [
      [status('active'), 'starting'],
      [picture('moving'), 'playing'],
      [status('disabled'), 'disabled'],
      [picture('none'), 'disabled'],
      [status('idle'), 'ended'],
    ],
    'not a stream': [[status('missing'), 'missing']],
    'a recording, played to its end and again, until it is deleted': [
      [recorded, 'starting'],
      [picture('moving'), 'playing'],
      [picture('paused'), 'paused'],
      [picture('moving'), 'playing'],
      [picture('finished'), 'ended'],
      [recorded, 'ended'],
      [picture('waiting'), 'reconnecting'],
      [picture('moving'), 'playing'],
      [status('missing'), 'missing'],
    ],
    'a broadcast that ends while its past is watched': [
      [on('active'), 'starting'],
      [picture('moving'), 'playing'],
      [on('idle'), 'playing'],
      [picture('paused'), 'paused'],
      [picture('still'), 'reconnecting'],
      [picture('moving'), 'playing'],
      [picture('finished'), 'ended'],
      [picture('waiting'), 'reconnecting'],
      [picture('moving'), 'playing'],
      [picture('finished'), 'ended'],
      [picture('none'), 'ended'],
    ],
  };
  for (const [name, story] of Object.entries(stories)) {
    it(name, () => {
      expect(stateOf(START)).toBe('loading');
      let f = START;
      story.forEach(([h, want], i) => {
        f = after(f, h);
        expect(stateOf(f), `step ${i + 1}: ${JSON.stringify(h)}`).toBe(want);
      });
    });
  }

  it('runs an engine exactly while there is something to play', () => {
    const on = { ...START, status: 'active' as const };
    expect(wantsEngine(on)).toBe(true);
    expect(wantsEngine({ ...on, status: 'reconnecting' })).toBe(true);
    expect(wantsEngine({ ...on, fault: 'codec_unsupported' })).toBe(false);
    expect(wantsEngine({ ...on, picture: 'finished' })).toBe(false);
    expect(wantsEngine({ ...on, unreachable: 'timeout' })).toBe(true);
    for (const s of ['idle', 'disabled', 'missing', null] as const) {
      expect(wantsEngine({ ...START, status: s })).toBe(false);
    }
    // What can be gone back to is kept, played to its end or not.
    const past = { ...on, status: 'idle' as const, kept: true, played: true };
    for (const p of ['moving', 'still', 'waiting', 'paused', 'finished'] as const) {
      expect(wantsEngine({ ...past, picture: p })).toBe(true);
      expect(wantsEngine({ ...past, picture: p, status: 'recorded' })).toBe(true);
    }
    expect(wantsEngine(past)).toBe(false);
    // The rest of a stream that has ended is played out.
    expect(wantsEngine({ ...on, status: 'idle', picture: 'moving' })).toBe(true);
  });

  it('keeps what was played to its end until another broadcast has surely begun', () => {
    const told = (...all: Happening[]) => all.reduce(after, START);
    const kept: Happening = { type: 'kept', kept: true };
    const played = [on('active'), picture('moving'), picture('finished')];
    // It ended faster than the server was asked again, or could say so.
    expect(wantsEngine(told(...played))).toBe(true);
    expect(wantsEngine(told(...played, on('active')))).toBe(true);
    expect(wantsEngine(told(...played, on('active'), on('idle')))).toBe(true);
    expect(wantsEngine(told(...played, on('active'), picture('waiting'), on('active')))).toBe(true);
    // It was gone back in after the server had been asked.
    const late = told(status('active'), picture('moving'), kept, picture('finished'));
    expect(wantsEngine(late)).toBe(true);
    expect(stateOf(late)).toBe('ended');
    // The old engine knows nothing of another broadcast.
    expect(wantsEngine(told(...played, on('active'), on('active')))).toBe(false);
    expect(wantsEngine(told(...played, on('idle'), on('active')))).toBe(false);
    // A recording stays however often it is said to be one.
    expect(wantsEngine(told(recorded, picture('moving'), picture('finished'), recorded, recorded))).toBe(
      true,
    );
    // What cannot be gone back to is of no use.
    expect(wantsEngine(told(status('active'), picture('moving'), picture('finished')))).toBe(false);
  });

  it('is always in some state, whatever it knows', () => {
    const statuses = ['idle', 'active', 'reconnecting', 'disabled', 'missing', null] as const;
    const pictures = ['none', 'waiting', 'moving', 'still', 'paused', 'finished'] as const;
    for (const s of statuses) {
      for (const p of pictures) {
        for (const u of ['', 'timeout']) {
          for (const played of [true, false]) {
            const f: Facts = {
              status: s,
              unreachable: u,
              picture: p,
              fault: '',
              played,
              kept: !played,
              since: 0,
            };
            const state = stateOf(f);
            expect(state, JSON.stringify(f)).toBeTruthy();
            if (state === 'playing') expect(p).toBe('moving');
            expect(wordsFor(state, u)).toBeDefined();
          }
        }
      }
    }
  });

  it('asks often while waiting, seldom when hidden or failing', () => {
    expect(pollDelay('offline', false, 0)).toBeLessThanOrEqual(3000);
    expect(pollDelay('offline', true, 0)).toBeGreaterThanOrEqual(10_000);
    expect(pollDelay('error', false, 1)).toBe(3000);
    expect(pollDelay('error', false, 3)).toBeGreaterThan(pollDelay('error', false, 1));
    expect(pollDelay('error', false, 99)).toBeLessThanOrEqual(6000);
  });
});

describe('the badge', () => {
  const at = { state: 'playing' as State, mediaAge: 0.4, limit: 5, behind: false };
  it('says LIVE only while media arrives', () => {
    expect(badgeFor(at)).toBe('LIVE');
    expect(badgeFor({ ...at, mediaAge: 5.01 })).toBe('WAITING');
    expect(badgeFor({ ...at, mediaAge: Number.POSITIVE_INFINITY })).toBe('WAITING');
    expect(badgeFor({ ...at, behind: true })).toBe('BEHIND');
    const others: State[] = [
      'loading',
      'offline',
      'starting',
      'paused',
      'reconnecting',
      'ended',
      'disabled',
      'missing',
      'error',
    ];
    for (const state of others) expect(badgeFor({ ...at, state })).not.toBe('LIVE');
  });
});
