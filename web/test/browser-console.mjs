import { ways } from './browser-ways.mjs';
import { report } from './health.mjs';

/** The console, from the sign-in to a deleted stream. */
export async function console_(session, mock) {
  const { page, check, expect, quiet } = session;
  await page.goto(`${mock.base}/`);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await check('signin');
  quiet.on = true;
  await page.getByLabel('Admin token').fill('wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('That is not the admin token').waitFor();
  await check('signin-wrong');
  mock.refuse(1);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('Wait 30 s').waitFor();
  quiet.on = false;
  await page.getByLabel('Admin token').fill('admin');
  await page.getByRole('button', { name: 'Sign in' }).click();

  await page.getByText('Go live in three steps').waitFor();
  await check('empty');
  await page.getByRole('button', { name: 'Create your first stream' }).click();
  await page.getByLabel('Title').fill('Friday town hall');
  await check('create');
  await page.getByRole('button', { name: 'Create stream' }).click();
  await page.getByText('Waiting for your encoder').waitFor();
  await page.getByText('Stream created.').waitFor({ state: 'hidden' });
  await check('stream-idle');

  const stream = [...mock.streams.values()].find((s) => s.title === 'Friday town hall');
  const key = page.getByRole('textbox', { name: 'Stream key', exact: true });
  expect((await key.getAttribute('type')) === 'password', 'the key is shown without being asked for');
  await page.getByRole('button', { name: 'Show stream key' }).click();
  expect((await key.getAttribute('type')) === 'text', 'the key cannot be shown');
  await page.context().grantPermissions([]);
  await page.getByRole('button', { name: 'Copy stream key' }).click();
  await page.getByText('Copied').waitFor();
  await page.getByRole('tab', { name: 'ffmpeg' }).click();
  expect(
    !(await page.locator('.code pre').textContent()).includes(stream.stream_key),
    'the command shows the key',
  );
  await check('stream-ffmpeg');
  await page.getByRole('tab', { name: 'OBS', exact: true }).click();

  mock.emit('ingest.refused', '', {
    protocol: 'rtmp',
    peer: '192.168.1.34:52100',
    code: 'unauthorized',
    reason: 'publish: no stream has this key. Copy the key from the stream’s page.',
  });
  await page.getByText('An encoder was refused a moment ago').waitFor();
  await check('stream-refused');

  await mock.picture();
  mock.golive(stream, { keyframe_interval: 10 });
  mock.health(stream, report('bad'));
  await page.getByText('The way from the encoder loses 7.3 %').waitFor({ timeout: 5000 });
  await page.getByText('What viewers see').waitFor({ timeout: 20_000 });
  await page.waitForTimeout(6000);
  await check('stream-live');
  await page.evaluate(() => scrollTo(0, 560));
  await check('stream-live-below');
  await ways(session, mock, stream);

  await page.getByRole('button', { name: 'Edit' }).click();
  await page.getByLabel('Title').fill('Friday town hall, now with <b>guests</b>');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('heading', { name: /guests/ }).waitFor();
  await page.getByRole('button', { name: 'Reset key' }).click();
  await check('stream-reset');
  await page.getByRole('dialog').getByRole('button', { name: 'Reset key' }).click();
  await page.getByText('There is a new stream key').waitFor();

  mock.make({ title: 'Keynote rehearsal', latency_mode: 'ultra' });
  const lost = mock.make({ title: 'Studio B' });
  mock.golive(lost);
  lost.status = 'reconnecting';
  mock.emit('live_stream.reconnecting', lost.id, { reason: 'connection reset' });
  mock.make({ title: 'Archive', status: 'disabled' });
  mock.make({
    title: 'A very long title that somebody wrote to see whether the list holds, and then some more of it',
  });
  await page.getByRole('link', { name: 'All streams', exact: true }).click();
  await page.getByText('Keynote rehearsal').waitFor();
  await page.getByText('Studio B').waitFor();
  await page.waitForFunction(() =>
    [...document.querySelectorAll('.thumb img')].some((i) => i.naturalWidth > 0),
  );
  await check('list');

  mock.down(true);
  await page.getByText('The list may be out of date').waitFor({ timeout: 20_000 });
  await check('list-unreachable');
  mock.down(false);
  await page.getByText('The list may be out of date').waitFor({ state: 'hidden', timeout: 30_000 });

  await page.getByRole('link', { name: /guests/ }).click();
  await page.getByRole('button', { name: 'End broadcast' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'End broadcast' }).click();
  await page.getByText('Waiting for your encoder').waitFor();
  await page.getByRole('button', { name: 'Disable' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click();
  await page.getByText('Switched off').waitFor();
  await check('stream-disabled');
  await page.getByRole('button', { name: 'Enable' }).click();
  await page.getByText('Waiting for your encoder').waitFor();
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete for good' }).click();
  await page.getByText('Keynote rehearsal').waitFor();
  expect(!mock.streams.has(stream.id), 'the stream is still there');

  await page.reload();
  await page.getByText('Keynote rehearsal').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();

  await page.goto(`${mock.base}/nowhere`);
  await check('404');
  await page.goto(`${mock.base}/docs`);
  await page.getByRole('heading', { name: 'onair', level: 1 }).waitFor({ timeout: 20_000 });
  await page.waitForTimeout(1000);
}
