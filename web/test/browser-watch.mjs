/** The watch page through its states. */
export async function watch({ page, check, expect, quiet, name }, mock) {
  const stream = mock.make({ title: 'Friday town hall', viewers: 3 });
  const url = `${mock.base}/watch/${stream.playback_ids[0].id}`;
  const state = (s, timeout = 20_000) =>
    page.locator(`onair-player[data-state="${s}"]`).waitFor({ state: 'attached', timeout });
  const badge = () => page.locator('.badge').getAttribute('data-kind');

  await page.goto(url);
  await state('offline');
  await check('watch-offline');
  expect((await badge()) === 'OFFLINE', 'the badge of an offline stream');

  // It starts by itself.
  mock.golive(stream);
  await state('starting');
  await check('watch-starting');
  await mock.picture();
  await state('playing');
  await page.waitForTimeout(2500);
  await check('watch-playing');
  expect((await badge()) === 'LIVE', `the badge while playing is ${await badge()}`);
  const latency = await page.evaluate(() => window.onairPlayer.latency());
  console.log(`${name}: delay ${latency?.toFixed(2)} s`);
  expect(latency > 0 && latency < 8, `latency ${latency}`);

  await page.getByRole('button', { name: 'Tap for sound' }).click();
  expect(!(await page.evaluate(() => document.querySelector('video').muted)), 'no sound after the tap');
  await page.mouse.move(200, 200);
  await page.getByRole('button', { name: /^Quality/ }).click();
  await check('watch-quality');
  await page.getByRole('menuitemradio', { name: /^180p/ }).click();
  await page.waitForFunction(() => document.querySelector('video').videoHeight === 180, undefined, {
    timeout: 15_000,
  });
  await page.keyboard.press('Escape');

  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
  await check('watch-help');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog', { name: 'Keyboard' }).waitFor({ state: 'hidden' });
  await page.keyboard.press('s');
  await page.getByRole('dialog', { name: 'Statistics' }).waitFor();
  await page.getByRole('button', { name: 'Copy as JSON' }).click();
  await page.getByText('Copied').waitFor();
  await check('watch-stats');
  await page.getByRole('button', { name: 'Close' }).click();
  await page.getByRole('dialog', { name: 'Statistics' }).waitFor({ state: 'hidden' });
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('m');
  expect(await page.evaluate(() => document.querySelector('video').muted), 'm does not mute');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('k');
  await state('paused');
  await check('watch-paused');
  await page.waitForTimeout(3000);
  expect((await badge()) === 'PAUSED', 'the badge while paused');
  await page.keyboard.press('k');
  await state('playing');
  await page.keyboard.press('l');

  // The host goes away and comes back: the last picture stays, nobody reloads.
  stream.status = 'reconnecting';
  await mock.stopPicture();
  await state('reconnecting');
  await page.waitForTimeout(1500);
  expect((await badge()) !== 'LIVE', 'LIVE while the host is away');
  await check('watch-reconnecting');
  stream.status = 'active';
  await mock.picture();
  await state('playing', 30_000);
  await page.waitForTimeout(1500);

  // The network goes away.
  quiet.on = true;
  mock.down(true);
  await state('reconnecting');
  await page.waitForTimeout(5500);
  expect((await badge()) !== 'LIVE', 'LIVE without a network');
  mock.down(false);
  await state('playing', 30_000);
  quiet.on = false;

  mock.idle(stream);
  await mock.stopPicture();
  await state('ended', 15_000);
  await check('watch-ended');
  stream.status = 'disabled';
  await state('disabled');
  await check('watch-disabled');
  await page.goto(`${mock.base}/watch/pb_unknown`);
  await state('missing');
  await check('watch-missing');
}
