import { report } from './health.mjs';

/** The parts of a stream's page around its ways in and out, and the doctor's card. */
export async function ways({ page, check, expect }, mock, stream) {
  const health = page.getByRole('region', { name: 'Stream health' });
  await health.getByText('Viewers see interruptions').waitFor();
  expect(
    !(await page.getByText('B-frames, which add delay').isVisible()),
    'more than three findings at once',
  );
  await health.getByRole('button', { name: 'Show 1 more' }).click();
  await page.getByText('B-frames, which add delay').waitFor();
  await health.getByText('What to do').first().click();
  await page.getByText('Add -g with twice the frame rate.').first().waitFor();
  const jitter = health.locator('dt', { hasText: 'Jitter' }).first().locator('xpath=../dd');
  expect((await jitter.textContent()) === 'unknown', 'an unknown reading is not called unknown');
  await health.scrollIntoViewIfNeeded();
  await check('health-bad');
  mock.health(stream, report('good'));
  await health.getByText('All is well.').waitFor();
  await check('health-good');
  mock.health(stream, report('no_data'));
  await health.getByText('last readings').waitFor();
  await check('health-stale');

  await qualities({ page, check, expect }, stream);
  await page.getByText('Other addresses').click();
  await page.getByRole('textbox', { name: 'WHEP', exact: true }).waitFor();
  await page.getByRole('textbox', { name: 'DASH', exact: true }).waitFor();
  await page.getByText('Other addresses').scrollIntoViewIfNeeded();
  await check('addresses');

  for (const [tab, words] of [
    ['SRT', 'SRT is not encrypted for this stream.'],
    ['Browser', 'service WHIP'],
    ['GStreamer', 'Put your own source'],
    ['Phone', 'stands more loss than RTMP'],
    ['OBS multitrack', 'several qualities of its picture'],
  ]) {
    const button = page.getByRole('tab', { name: tab, exact: true });
    await button.click();
    await page.getByRole('tabpanel').getByText(words).waitFor();
    await button.scrollIntoViewIfNeeded();
    await check(`tab-${tab.replace(' ', '-')}`);
    expect(
      !(await page.getByRole('tabpanel').textContent()).includes(stream.stream_key),
      `the tab ${tab} shows the key`,
    );
  }
  await page.getByRole('button', { name: 'Make OBS settings' }).click();
  await page.getByText('schema_version').waitFor();
  await page.getByRole('button', { name: 'Change limits' }).click();
  await page.getByLabel('Most qualities').selectOption('3');
  await check('multitrack');
  await page.getByRole('button', { name: 'Save limits' }).click();
  await page.getByText('up to 3 qualities').waitFor();

  await page.getByRole('tab', { name: 'SRT', exact: true }).click();
  await page.getByRole('button', { name: 'Set a passphrase' }).click();
  await page.getByRole('textbox', { name: 'Passphrase' }).fill('correct-horse-battery');
  await check('passphrase');
  await page.getByRole('button', { name: 'Set passphrase' }).click();
  await page.getByText('Encrypts SRT, publishing and playing.').waitFor();
  await page.getByText('Backup encoder').click();
  await page.getByRole('textbox', { name: 'Backup SRT address' }).waitFor();
  await check('backup');

  await page.getByRole('button', { name: 'Add a service' }).click();
  await page.getByLabel('Server', { exact: true }).fill('rtmp://live.example.net/app');
  await page.getByLabel('Their stream key').fill('abcdefgh12345678');
  await check('target-add');
  await page.getByRole('button', { name: 'Add service' }).click();
  await page.getByText('for 1:').first().waitFor();
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByLabel('Server', { exact: true }).fill('srt://ingest.example.org:9000');
  await page.getByLabel('Name').fill('Second service');
  await page.getByRole('button', { name: 'Add service' }).click();
  await page.getByText('refused the stream key').waitFor();
  await page.getByText('refused the stream key').scrollIntoViewIfNeeded();
  await check('targets');
  await page.getByRole('button', { name: 'Switch off Second service' }).click();
  await page.getByRole('button', { name: 'Switch on Second service' }).waitFor();
  await page.getByRole('button', { name: 'Remove Second service' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
  await page.getByRole('button', { name: 'Remove Second service' }).waitFor({ state: 'hidden' });

  await page.getByRole('button', { name: 'Set an address' }).click();
  await page.getByLabel('Address', { exact: true }).fill('ftp://x');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('must begin with one of').waitFor();
  await page.getByLabel('Address', { exact: true }).fill('rtsp://admin:secret@camera.example.com/1');
  await page.getByLabel('Only while somebody watches').check();
  await check('source-edit');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('rtsp://admin:****@camera.example.com/1').waitFor();
  await page.getByText('Try 3.').scrollIntoViewIfNeeded();
  await check('source');
  await page.getByRole('button', { name: 'Stop fetching' }).click();
  await page.getByRole('button', { name: 'Fetch', exact: true }).waitFor();
  await page.getByRole('button', { name: 'Remove address' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
  await page.getByRole('button', { name: 'Set an address' }).waitFor();
  await page.getByRole('tab', { name: 'OBS', exact: true }).click();
}

/** The renditions with their states, and the settings of the ladder. */
async function qualities({ page, check, expect }, stream) {
  const card = page.getByRole('region', { name: 'Qualities' });
  await card.getByText('No room', { exact: true }).waitFor();
  await card.getByText('the encoding budget of 3 cores is full').waitFor();
  await card.getByText('libx264 · 0.').waitFor({ timeout: 10_000 });
  await card.scrollIntoViewIfNeeded();
  await check('qualities');
  await card.getByRole('button', { name: 'Settings' }).click();
  await page.getByText('h264_nvenc (hardware)').waitFor();
  await check('ladder');
  await page.getByLabel('Other qualities are encoded').selectOption('always');
  await page.getByLabel('Which').selectOption('My own list');
  await page.getByLabel('Qualities, the best first').fill('720p, potato');
  await page.getByLabel('Viewers in real time').fill('25');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('potato is no rung').waitFor();
  await check('ladder-wrong');
  await page.getByLabel('Qualities, the best first').fill('720p\n480p@900k');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('All qualities are encoded').waitFor();
  const { ladder, realtime_viewers } = stream;
  expect(
    ladder.mode === 'always' && ladder.rungs.join() === '720p,480p@900k' && realtime_viewers === 25,
    `saved ${JSON.stringify({ ladder, realtime_viewers })}`,
  );
}
