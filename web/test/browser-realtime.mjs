import { loop } from './whep-loop.mjs';

const REALTIME = { protocol: 'webrtc', code: 'room', reason: 'Few watch, so there is room in real time.' };
const CROWD = { protocol: 'hls', code: 'crowd', reason: 'More watch than can in real time.' };

/** The watch page over WebRTC: its start, its fall-backs, and moves both ways. */
export async function realtime({ page, check, expect, name, context }, mock) {
  const stream = mock.make({ title: 'Friday town hall', viewers: 3 });
  const url = `${mock.base}/watch/${stream.playback_ids[0].id}`;
  const state = (s, timeout = 20_000) =>
    page.locator(`onair-player[data-state="${s}"]`).waitFor({ state: 'attached', timeout });
  const way = (w, timeout = 30_000) =>
    page.waitForFunction((w) => window.onairPlayer.way === w, w, { timeout, polling: 50 });
  const stats = () => page.evaluate(() => window.onairPlayer.stats());
  const videos = () => page.locator('onair-player video').count();
  await context.addInitScript(loop);
  await mock.picture();
  mock.golive(stream);
  mock.steer(REALTIME);

  // What is shown must never be black once there was a picture.
  const watchBlack = () =>
    page.evaluate(() => {
      const canvas = document.createElement('canvas');
      canvas.width = canvas.height = 8;
      const draw = canvas.getContext('2d', { willReadFrequently: true });
      window.black = 0;
      const look = () => {
        const v = [...document.querySelectorAll('onair-player video')].find(
          (v) => getComputedStyle(v).opacity === '1',
        );
        draw.fillStyle = '#000';
        draw.fillRect(0, 0, 8, 8);
        if (v) draw.drawImage(v, 0, 0, 8, 8);
        const data = draw.getImageData(0, 0, 8, 8).data;
        if (data.every((b, i) => i % 4 === 3 || b < 16)) window.black++;
        requestAnimationFrame(look);
      };
      look();
    });

  const begun = Date.now();
  await page.goto(url);
  await way('webrtc');
  await state('playing');
  console.log(`${name}: real time ${Date.now() - begun} ms after the page was asked for`);
  expect((await page.evaluate(() => window.whep.last)).includes('stereo=1'), 'no stereo is asked for');
  await page.waitForTimeout(3500);
  const latency = await page.evaluate(() => window.onairPlayer.latency());
  console.log(`${name}: delay in real time ${latency?.toFixed(3)} s`);
  expect(latency !== null && latency < 1, `the delay in real time is ${latency}`);
  expect((await videos()) === 1, `${await videos()} pictures while one plays`);
  expect((await page.locator('.badge').getAttribute('data-kind')) === 'LIVE', 'no LIVE in real time');
  await page.getByText('Real time', { exact: true }).waitFor();
  await check('realtime-playing');
  await watchBlack();

  // The menu has what the playlist lists; the wish goes to the session.
  await page.mouse.move(200, 200);
  await page.getByRole('button', { name: /^Quality/ }).click();
  await page.getByRole('menuitemradio', { name: /^180p/ }).click();
  await page.waitForFunction(() => window.whep.wishes.length === 1);
  expect((await page.evaluate(() => window.whep.wishes[0])) !== '', 'no layer is asked for');
  await page.getByRole('button', { name: /^Quality/ }).click();
  await page.getByRole('menuitemradio', { name: /^Auto/ }).click();
  await page.waitForFunction(() => window.whep.wishes[1] === '');
  await page.keyboard.press('Escape');

  // The crowd grows, and shrinks again: nobody sees the change.
  await page.getByRole('button', { name: 'Tap for sound' }).click();
  mock.steer(CROWD);
  await way('hls');
  await page.waitForTimeout(1500);
  expect((await stats()).way_reason === CROWD.reason, 'the statistics do not say why');
  expect((await videos()) === 1, 'the picture from before is still there');
  expect(
    !(await page.evaluate(() => document.querySelector('video').muted)),
    'the sound was lost on the way',
  );
  expect((await page.evaluate(() => window.whep.deleted)) === 1, 'the session was not ended');
  expect(await page.locator('.note').isHidden(), 'a viewer is told what does not matter to them');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('k');
  await state('paused');
  await page.keyboard.press('k');
  await state('playing');
  await page.keyboard.press('l');
  mock.steer(REALTIME);
  await way('webrtc');
  await page.waitForTimeout(1000);
  expect((await videos()) === 1, 'the picture from before is still there');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('m');
  expect(await page.evaluate(() => document.querySelector('video').muted), 'm does not mute after a change');
  const told = mock.asked.length;
  while (mock.asked.length < told + 1) await page.waitForTimeout(200);
  const last = mock.asked.at(-1);
  expect(
    last.current === 'webrtc' && last.webrtc === 'true' && last.viewer,
    `asked with ${JSON.stringify(last)}`,
  );

  // The connection breaks: HTTP takes over, and says so.
  await page.evaluate(() => window.whep.drop());
  await way('hls', 20_000);
  await state('playing');
  await page.getByText('real-time').first().waitFor();
  await check('realtime-lost');
  const black = await page.evaluate(() => window.black);
  expect(black === 0, `${black} black pictures during the changes`);
  await way('webrtc', 30_000);

  // Blocked: HTTP within 4 s.
  await context.addInitScript(() => {
    window.whep.mode = 'silent';
  });
  await page.goto(url);
  const at = Date.now();
  await state('playing');
  const took = Date.now() - at;
  console.log(`${name}: blocked, a picture after ${took} ms`);
  expect(took < 4000, `a blocked network costs ${took} ms`);
  await page.getByText('does not get through this network').first().waitFor();
  expect((await stats()).way_code.startsWith('blocked'), 'the statistics do not say that it is blocked');
  await check('realtime-blocked');
  await context.addInitScript(() => {
    window.whep.mode = 'refuse';
  });
  await page.goto(url);
  await state('playing');
  expect((await page.evaluate(() => window.onairPlayer.way)) === 'hls', 'a refusal does not lead to HTTP');
  expect((await stats()).way_code.includes('No codec'), 'the statistics do not say why it was refused');
  await page.keyboard.press('s');
  await page.getByRole('dialog', { name: 'Statistics' }).waitFor();
  await check('realtime-stats');
}
