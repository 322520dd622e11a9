// Pion (Debian's golang-github-pion-webrtc.v3-dev) as a peer of foreign.mjs: one command of JSON a line on standard input, one event
// a line on standard output (foreign_pipe.mjs has the words).
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/pion/webrtc/v3"
)

// More than this waits for the network before the next command is read.
const buffered = 256 * 1024

type command struct {
	ID        int                      `json:"id"`
	Do        string                   `json:"do"`
	Kind      string                   `json:"kind"`
	Label     string                   `json:"label"`
	Restart   bool                     `json:"restart"`
	Sdp       string                   `json:"sdp"`
	Candidate *webrtc.ICECandidateInit `json:"candidate"`
	Data      string                   `json:"data"`
	Text      *string                  `json:"text"`
}

type event map[string]interface{}

type peer struct {
	pc       *webrtc.PeerConnection
	out      sync.Mutex
	state    sync.Mutex
	channels map[string]*webrtc.DataChannel
	tracks   map[string][]*webrtc.TrackLocalStaticRTP
	counts   map[string]int
	numbers  map[string]int
}

func (p *peer) say(e event) {
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	p.out.Lock()
	defer p.out.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

func newPeer() (*peer, error) {
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	p := &peer{
		pc: pc, channels: map[string]*webrtc.DataChannel{}, tracks: map[string][]*webrtc.TrackLocalStaticRTP{},
		counts: map[string]int{}, numbers: map[string]int{},
	}
	pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		if c == nil {
			p.say(event{"event": "candidate", "candidate": nil})
			return
		}
		p.say(event{"event": "candidate", "candidate": c.ToJSON()})
	})
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) { p.say(event{"event": "state", "state": s.String()}) })
	pc.OnDataChannel(p.serve)
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { p.count(track) })
	return p, nil
}

func (p *peer) serve(channel *webrtc.DataChannel) {
	label := channel.Label()
	p.state.Lock()
	p.channels[label] = channel
	p.state.Unlock()
	channel.OnOpen(func() { p.say(event{"event": "open", "label": label}) })
	channel.OnClose(func() { p.say(event{"event": "shut", "label": label}) })
	channel.OnError(func(err error) { fmt.Fprintln(os.Stderr, "pion: channel", label, err) })
	channel.OnMessage(func(m webrtc.DataChannelMessage) {
		if m.IsString {
			p.say(event{"event": "message", "label": label, "text": string(m.Data)})
		} else {
			p.say(event{"event": "message", "label": label, "data": base64.StdEncoding.EncodeToString(m.Data)})
		}
	})
}

// Frames end with a marker; of sound each packet counts.
func (p *peer) count(track *webrtc.TrackRemote) {
	kind := track.Kind().String()
	p.state.Lock()
	key := fmt.Sprintf("%s%d", kind, p.numbers[kind])
	p.numbers[kind]++
	p.state.Unlock()
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		if kind == "audio" || packet.Marker {
			p.state.Lock()
			p.counts[key]++
			p.state.Unlock()
		}
	}
}

// A track that takes the packets of the clip.
func (p *peer) source(kind string) (*webrtc.TrackLocalStaticRTP, error) {
	mime := map[string]string{"video": webrtc.MimeTypeVP8, "audio": webrtc.MimeTypeOpus}[kind]
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mime}, fmt.Sprintf("%s%d", kind, len(p.tracks[kind])), "clip")
	if err == nil {
		p.tracks[kind] = append(p.tracks[kind], track)
	}
	return track, err
}

// Reads what the far end reports, as Pion wants it.
func drain(sender *webrtc.RTPSender) {
	buffer := make([]byte, 1500)
	for {
		if _, _, err := sender.Read(buffer); err != nil {
			return
		}
	}
}

func (p *peer) media(kind string) error {
	track, err := p.source(kind)
	if err != nil {
		return err
	}
	sender, err := p.pc.AddTrack(track)
	if err == nil {
		go drain(sender)
	}
	return err
}

func (p *peer) describe(restart bool) (string, error) {
	offer, err := p.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: restart})
	if err != nil {
		return "", err
	}
	if err := p.pc.SetLocalDescription(offer); err != nil {
		return "", err
	}
	return p.pc.LocalDescription().SDP, nil
}

func (p *peer) answer(sdp string) (string, error) {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sdp}); err != nil {
		return "", err
	}
	for _, t := range p.pc.GetTransceivers() {
		if t.Sender() == nil || t.Sender().Track() == nil {
			if err := p.media(t.Kind().String()); err != nil {
				return "", err
			}
		}
	}
	answer, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	if err := p.pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	return p.pc.LocalDescription().SDP, nil
}

func (p *peer) send(c command) error {
	p.state.Lock()
	channel := p.channels[c.Label]
	p.state.Unlock()
	if channel == nil {
		return fmt.Errorf("no channel %q", c.Label)
	}
	for channel.BufferedAmount() > buffered {
		time.Sleep(time.Millisecond)
	}
	if c.Text != nil {
		return channel.SendText(*c.Text)
	}
	data, err := base64.StdEncoding.DecodeString(c.Data)
	if err != nil {
		return err
	}
	return channel.Send(data)
}

func (p *peer) perform(c command) (event, error) {
	switch c.Do {
	case "media":
		return nil, p.media(c.Kind)
	case "channel":
		channel, err := p.pc.CreateDataChannel(c.Label, nil)
		if err == nil {
			p.serve(channel)
		}
		return nil, err
	case "offer":
		sdp, err := p.describe(c.Restart)
		return event{"sdp": sdp}, err
	case "answer":
		sdp, err := p.answer(c.Sdp)
		return event{"sdp": sdp}, err
	case "accept":
		return nil, p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: c.Sdp})
	case "candidate":
		return nil, p.pc.AddICECandidate(*c.Candidate)
	case "send":
		return nil, p.send(c)
	case "rtp":
		packet, err := base64.StdEncoding.DecodeString(c.Data)
		if err != nil {
			return nil, err
		}
		for _, track := range p.tracks[c.Kind] {
			if _, err := track.Write(packet); err != nil {
				return nil, err
			}
		}
		return nil, nil
	case "counts":
		p.state.Lock()
		defer p.state.Unlock()
		counts := map[string]int{}
		for key, n := range p.counts {
			counts[key] = n
		}
		return event{"counts": counts}, nil
	case "close":
		return nil, p.pc.Close()
	}
	return nil, fmt.Errorf("unknown command %q", c.Do)
}

func main() {
	p, err := newPeer()
	if err != nil {
		panic(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16*1024*1024)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			panic(err)
		}
		reply, err := p.perform(c)
		if reply == nil {
			reply = event{}
		}
		if err != nil {
			reply["error"] = err.Error()
		}
		reply["event"], reply["id"] = "reply", c.ID
		p.say(reply)
	}
}
