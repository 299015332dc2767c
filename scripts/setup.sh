#!/usr/bin/env bash
# Installs the programs that a make verb needs and that are missing, with apt-get on
# Debian and brew on macOS. Usage: scripts/setup.sh TOOL…, by the names in the table.
set -euo pipefail

# tool: the command that shows it is there | Debian packages | brew formulas
table='
cc          cc              gcc,libc6-dev                     -
ffmpeg      ffmpeg          ffmpeg                            ffmpeg
chromium    chromium        chromium,fonts-dejavu-core        -
gstreamer   gst-launch-1.0  gstreamer1.0-tools,gstreamer1.0-plugins-base,gstreamer1.0-plugins-good,gstreamer1.0-plugins-bad,gstreamer1.0-plugins-ugly,gstreamer1.0-libav gstreamer
rtmpdump    rtmpdump        rtmpdump                          rtmpdump
nginx       nginx           nginx-light                       nginx
postgres    pg_ctl          postgresql                        postgresql@15
slowhttp    slowhttptest    slowhttptest                      slowhttptest
srt         srt-live-transmit srt-tools                       srt
obs         obs             obs-studio                        -
xvfb        Xvfb            xvfb                              -
vlc         cvlc            vlc-bin,vlc-plugin-base           -
ip          ip              iproute2                          -
'

# Debian keeps some servers outside an ordinary PATH.
PATH=$PATH:/usr/sbin
for dir in /usr/lib/postgresql/*/bin; do PATH=$PATH:$dir; done

packages=()
for tool in "$@"; do
  row=$(awk -v t="$tool" '$1 == t' <<<"$table")
  [ -n "$row" ] || { echo "setup: no such tool: $tool" >&2; exit 2; }
  read -r _ command debian brew <<<"$row"
  command -v "$command" >/dev/null && continue
  case "$(uname -s)" in
    Darwin) names=$brew ;;
    *) names=$debian ;;
  esac
  if [ "$names" = - ]; then
    echo "setup: please install $command; there is no package of it for this system" >&2
    exit 1
  fi
  IFS=, read -ra names <<<"$names"
  packages+=("${names[@]}")
done
[ ${#packages[@]} -eq 0 ] && exit 0

echo "setup: installing ${packages[*]}"
if [ "$(uname -s)" = Darwin ]; then
  exec brew install --quiet "${packages[@]}"
fi
command -v apt-get >/dev/null || { echo "setup: no apt-get here; please install: ${packages[*]}" >&2; exit 1; }
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { $sudo apt-get update && $sudo apt-get install -y --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  exit 1
fi
