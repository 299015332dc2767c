//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// display starts an X server on a free display and returns its name.
func display(t *testing.T) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", "800x600x24", "-nolisten", "tcp")
	cmd.ExtraFiles = []*os.File{w}
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if err := r.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	number, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatalf("Xvfb does not start: %v", err)
	}
	return ":" + strings.TrimSpace(number)
}

// obs starts OBS with a picture of 320 × 180 that it streams to a server at once.
func obs(t *testing.T, server, key string) *publisher {
	t.Helper()
	for _, name := range []string{"obs", "Xvfb"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%s is missing: make e2e installs it (scripts/setup.sh)", name)
		}
	}
	home := t.TempDir()
	service, err := json.Marshal(map[string]any{"type": "rtmp_custom", "settings": map[string]any{"server": server, "key": key, "use_auth": false}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"global.ini": "[General]\nFirstRun=true\nInfoIncrement=9999\nEnableAutoUpdates=false\nConfirmOnExit=false\n\n" +
			"[Basic]\nProfile=e2e\nProfileDir=e2e\nSceneCollection=e2e\nSceneCollectionFile=e2e\nConfigOnNewProfile=false\n",
		"basic/profiles/e2e/basic.ini": "[General]\nName=e2e\n\n[Output]\nMode=Simple\nReconnect=true\nRetryDelay=1\n\n" +
			"[SimpleOutput]\nStreamEncoder=x264\nVBitrate=600\nABitrate=96\nUseAdvanced=true\nPreset=ultrafast\nx264Settings=keyint=30 bframes=0 threads=1\n\n" +
			"[Video]\nBaseCX=320\nBaseCY=180\nOutputCX=320\nOutputCY=180\nFPSType=1\nFPSInt=15\n\n[Audio]\nSampleRate=48000\nChannelSetup=Stereo\n",
		"basic/profiles/e2e/service.json": string(service),
		"basic/scenes/e2e.json": `{"name":"e2e","current_scene":"Scene","current_program_scene":"Scene","scene_order":[{"name":"Scene"}],"sources":[
			{"id":"color_source","versioned_id":"color_source_v3","name":"Colour","settings":{"color":4278255360,"width":320,"height":180},"enabled":true},
			{"id":"scene","name":"Scene","settings":{"id_counter":1,"items":[{"name":"Colour","id":1,"visible":true,"align":5}]},"enabled":true}]}`,
	} {
		file := filepath.Join(home, "obs-studio", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return encode(t, "env", "DISPLAY="+display(t), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_RUNTIME_DIR="+home, "LIBGL_ALWAYS_SOFTWARE=1",
		"QT_QPA_PLATFORM=xcb", "obs", "--startstreaming", "--minimize-to-tray", "--disable-updater", "--multi",
		"--profile", "e2e", "--collection", "e2e", "--scene", "Scene")
}

// TestOBS publishes with OBS, which drops nothing.
func TestOBS(t *testing.T) {
	s := start(t)
	st := s.create("low")
	// A query, as a backup has it, goes along.
	o := obs(t, "rtmp://"+s.rtmp+"/live", st.StreamKey+"?from=obs")
	got := s.waitStatus(st, "active", 40*time.Second)
	if got.ActiveIngest == nil || !strings.HasPrefix(got.ActiveIngest.Encoder, "obs-output module") {
		t.Errorf("it is %+v", got.ActiveIngest)
	}
	s.decodes(t, st, "6")
	got = s.get(st.ID)
	video, width, height := got.track("video")
	audio, _, _ := got.track("audio")
	if video != "H.264" || width != 320 || height != 180 || audio != "AAC" {
		t.Errorf("received %s of %d × %d and %s", video, width, height, audio)
	}
	o.stop()
	if text := o.out.tail(1000); !strings.Contains(text, "stopping") || strings.Contains(text, "dropped frames due to insufficient bandwidth") {
		t.Errorf("OBS says at its end:\n%s", text)
	}
}

// TestOBSIsToldWhy lets OBS try a key that is not known: it gives up with a word instead
// of trying for ever.
func TestOBSIsToldWhy(t *testing.T) {
	s := start(t)
	o := obs(t, "rtmp://"+s.rtmp+"/live", "sk_nobody")
	o.out.wait(t, "NetStream.Publish.Denied (publish: the stream key is not known.", 40*time.Second)
	o.out.wait(t, "Streaming Stop", 10*time.Second)
	s.log.wait(t, "publisher refused", 5*time.Second)
	if strings.Contains(s.log.tail(1000), "sk_nobody") {
		t.Error("the log has the key")
	}
}
