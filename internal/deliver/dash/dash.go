// Package dash serves MPEG-DASH (ISO/IEC 23009-1) of what pack makes.
package dash
