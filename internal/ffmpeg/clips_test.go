//go:build unix

package ffmpeg

import (
	"fmt"
	"strings"
)

// clipSeconds is the length of a clip.
const clipSeconds = 12

// clips are pictures of four kinds, as graphs that ffmpeg makes them with: of a desktop that
// scrolls now and then, of a person who hardly moves, of a match, and of a picture that is all
// in motion all the time, so that no rung keeps to its bound by itself.
func clips() map[string]string {
	const still = "mandelbrot=s=1920x1080:r=1:start_scale=0.4,loop=-1:1:0,fps=30"
	return map[string]string{
		"screen": "color=0xf4f4f4:s=1920x1080:r=30[a];cellauto=s=240x216:r=2:rule=110:scroll=1:random_seed=7,scale=960:864:flags=neighbor,fps=30[b];" +
			"color=0x3060c0:s=14x20:r=30[c];[a][b]overlay=80:100[d];[d][c]overlay=x='1200+300*sin(t*2)':y='500+200*cos(t*1.3)'",
		"talk":  still + ",gblur=4[a];testsrc2=s=480x600:r=30,gblur=6,hue=s=0.5[b];[a][b]overlay=x='700+24*sin(t*1.7)':y='300+10*sin(t*3.1)',noise=alls=3:allf=t",
		"sport": match(),
		"storm": "mandelbrot=s=2880x1620:r=1:start_scale=0.05,loop=-1:1:0,fps=30,crop=1920:1080:x='480+470*sin(t*1.9)':y='270+260*sin(t*2.7)'[a];" +
			"testsrc2=s=200x300:r=30[b];testsrc2=s=160x260:r=30,hue=h=90[c];[a][b]overlay=x='900+800*sin(t*2.3)':y='500+200*sin(t*4.1)'[d];[d][c]overlay=x='800+700*cos(t*3.1)':y=600,noise=alls=6:allf=t",
	}
}

// match is a field game as broadcasts show it: a camera that follows play over a pitch of
// grass with a crowd behind it and ten players who run (4 s), a swift attack with the camera
// after it (2 s), a cut to one player close by, out of focus behind (3 s), and the wide
// picture again (3 s). The score stands still, and the camera's noise is in every picture.
func match() string {
	const (
		players = 10
		grass   = "color=0x3f7d35:s=3200x1300:r=1,format=yuv444p,drawgrid=w=320:h=2600:t=160:c=0x4b8d40,noise=c0s=28:c0_seed=3,gblur=0.9," +
			"drawbox=100:60:3000:1180:0xd8e0d8:8,drawbox=1596:60:8:1180:0xd8e0d8:fill,drawbox=100:340:420:620:0xd8e0d8:8,drawbox=2680:340:420:620:0xd8e0d8:8"
		crowd = "color=0x606a78:s=640x92:r=1,format=yuv444p,noise=alls=100:all_seed=9,scale=3200:460:flags=bicubic,noise=c0s=15:c0_seed=5," +
			"drawbox=0:400:3200:60:0x203a80:fill,drawgrid=w=400:h=900:t=120:c=0xc8c8d0@0.25"
		player = "color=%s:s=28x64:r=30,format=yuva444p,drawbox=8:0:12:14:0x8a6a50:fill,drawbox=0:34:28:14:0xe8e8e8:fill,drawbox=0:48:28:16:0x6a5040:fill," +
			"drawbox=0:48:12:16:0x458539:fill:enable='lt(mod(t,.5),.25)',drawbox=16:48:12:16:0x458539:fill:enable='gte(mod(t,.5),.25)',noise=c0s=12:c0_seed=%d[m%d]"
		// play is where the game is, camera where the picture begins, in pixels of the pitch.
		play   = "(1600+260*sin(t*0.7)-if(between(t,4,6),700*(t-4),0)-if(gt(t,6),1400,0)*lt(t,9)-if(gt(t,9),700,0))"
		camera = "clip(1600+220*sin(t*0.7)-if(between(t,4,6),650*(t-4),0)-if(gte(t,9),500,0)-960,0,1280)"
	)
	g := []string{grass + "[grass]", crowd + "[crowd]", fmt.Sprintf("[crowd][grass]vstack,loop=-1:1:0,fps=30,trim=duration=%d,setpts=N/30/TB[w0]", clipSeconds)}
	for i := range players {
		shirt := []string{"0x2040a0", "0xb02030"}[i%2]
		x := fmt.Sprintf("%s%+d+%d*sin(t*%.2f)", play, 150*i-700, 60+7*i, 0.9+0.17*float64(i))
		y := fmt.Sprintf("%d+%d*sin(t*%.2f)", 560+i*397%900, 40+5*i, 1.3-0.07*float64(i))
		g = append(g, fmt.Sprintf(player, shirt, i, i), fmt.Sprintf("[w%d][m%d]overlay=x='%s':y='%s':eval=frame[w%d]", i, i, x, y, i+1))
	}
	g = append(g, fmt.Sprintf("[w%d]split[a][b]", players),
		"[a]crop=1920:1080:x='"+camera+"':y='380+20*sin(t*0.5)'[wide]",
		"[b]crop=640:360:x='700+60*(t-6)*between(t,6,9)':y=300,gblur=5,scale=1920:1080:flags=bicubic[behind]",
		"color=0xb02030:s=420x940:r=30,format=yuva444p,drawbox=130:0:160:200:0x8a6a50:fill,drawbox=0:560:420:180:0xe8e8e8:fill,"+
			"drawbox=0:740:420:200:0x7a5a48:fill,drawbox=0:200:420:16:0xe8e8e8:fill,noise=c0s=20:c0_seed=77,gblur=1.2[near]",
		"[behind][near]overlay=x='700+120*sin(t*1.6)':y='140+30*sin(t*5)'[close]",
		"[wide][close]overlay=enable='between(t,6,9)',drawbox=80:60:420:70:0x101830:fill,drawbox=90:70:90:50:0xd02030:fill,drawbox=400:70:90:50:0x2040c0:fill,noise=c0s=4:c0f=t")
	return strings.Join(g, ";")
}
