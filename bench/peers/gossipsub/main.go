// A gossipsub process for `mycel bench mesh`: gossipsub INDEX COUNT SEED ADDRESS, steered by the lines that
// bench/mesh_node.h describes, except that it knows no members: it says FULL once the peers that JOIN names are
// connected. go-libp2p over TCP with Noise and yamux; gossipsub's defaults, signed messages among them.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

const (
	latenciesPerLine = 128
	largestMessage   = 8 << 20
	topicName        = "bench"
)

func nowMicros() int64 { return time.Now().UnixMicro() }

type delivery struct {
	number  uint64
	latency int64
}

type process struct {
	mu         sync.Mutex // guards the next two
	out        *bufio.Writer
	deliveries []delivery
	duplicates atomic.Int64
	host       host.Host
	topic      *pubsub.Topic
	background context.Context
}

func (p *process) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, format+"\n", args...)
	p.out.Flush()
}

// ---- gossipsub's tracer: only duplicates are counted ----

func (p *process) DuplicateMessage(*pubsub.Message)                     { p.duplicates.Add(1) }
func (p *process) OnNewOutboundStream(peer.ID, protocol.ID)             {}
func (p *process) OnClosedOutboundStream(peer.ID)                       {}
func (p *process) SendRPCCompleted(*pubsub.RPC, peer.ID, time.Duration) {}
func (p *process) Join(string)                                          {}
func (p *process) Leave(string)                                         {}
func (p *process) Graft(peer.ID, string)                                {}
func (p *process) Prune(peer.ID, string)                                {}
func (p *process) ValidateMessage(*pubsub.Message)                      {}
func (p *process) DeliverMessage(*pubsub.Message)                       {}
func (p *process) RejectMessage(*pubsub.Message, string)                {}
func (p *process) ThrottlePeer(peer.ID)                                 {}
func (p *process) RecvRPC(*pubsub.RPC)                                  {}
func (p *process) SendRPC(*pubsub.RPC, peer.ID)                         {}
func (p *process) DropRPC(*pubsub.RPC, peer.ID)                         {}
func (p *process) UndeliverableMessage(*pubsub.Message)                 {}

func (p *process) receive(subscription *pubsub.Subscription) {
	for {
		message, err := subscription.Next(p.background)
		if err != nil {
			return
		}
		now := nowMicros()
		if message.ReceivedFrom == p.host.ID() || len(message.Data) < 16 {
			continue
		}
		number := binary.LittleEndian.Uint64(message.Data)
		sent := int64(binary.LittleEndian.Uint64(message.Data[8:]))
		p.mu.Lock()
		p.deliveries = append(p.deliveries, delivery{number, max(now-sent, 0)})
		p.mu.Unlock()
	}
}

// ---- commands ----

func (p *process) join(addresses []string) {
	for _, text := range addresses {
		info, err := peer.AddrInfoFromString(text)
		for tries := 0; err == nil; tries++ {
			err = p.host.Connect(p.background, *info)
			if err == nil || tries == 5 {
				break
			}
			err = nil
			time.Sleep(100 * time.Millisecond)
		}
		if err != nil {
			p.say("ERR cannot connect: %v", err)
		}
	}
	p.say("FULL %d", nowMicros())
}

func (p *process) publish(first uint64, size, count int, rate float64) {
	start := time.Now()
	for i := 0; i < count; i++ {
		if rate > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(float64(i) / rate * 1e9))))
		}
		bytes := make([]byte, size)
		for k := range bytes {
			bytes[k] = byte(rand.Int())
		}
		binary.LittleEndian.PutUint64(bytes, first+uint64(i))
		binary.LittleEndian.PutUint64(bytes[8:], uint64(nowMicros()))
		if err := p.topic.Publish(p.background, bytes); err != nil {
			p.say("ERR cannot publish: %v", err)
		}
	}
	p.say("DONE %d", nowMicros())
}

func (p *process) report() {
	p.mu.Lock()
	deliveries := p.deliveries
	p.deliveries = nil
	p.mu.Unlock()
	for from := 0; from < len(deliveries); from += latenciesPerLine {
		line := "LAT"
		for _, d := range deliveries[from:min(from+latenciesPerLine, len(deliveries))] {
			line += fmt.Sprintf(" %d %d", d.number, d.latency)
		}
		p.say("%s", line)
	}
	p.say("STAT %d %d", len(deliveries), p.duplicates.Swap(0))
}

func (p *process) listen() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0:
		case words[0] == "JOIN":
			go p.join(words[1:])
		case words[0] == "PUB" && len(words) == 5:
			first, _ := strconv.ParseUint(words[1], 10, 64)
			size, _ := strconv.Atoi(words[2])
			count, _ := strconv.Atoi(words[3])
			rate, _ := strconv.ParseFloat(words[4], 64)
			go p.publish(first, max(size, 16), count, rate)
		case words[0] == "STAT":
			p.report()
		default:
			p.say("ERR what is %s?", words[0])
		}
	}
}

func (p *process) start(address string) error {
	ip, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	resources, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(rcmgr.InfiniteLimits))
	if err != nil {
		return err
	}
	listen := fmt.Sprintf("/ip4/%s/tcp/%s", ip, port)
	p.host, err = libp2p.New(libp2p.ListenAddrStrings(listen), libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(noise.ID, noise.New), libp2p.ResourceManager(resources), libp2p.DisableRelay())
	if err != nil {
		return err
	}
	router, err := pubsub.NewGossipSub(p.background, p.host, pubsub.WithMaxMessageSize(largestMessage),
		pubsub.WithRawTracer(p))
	if err != nil {
		return err
	}
	if p.topic, err = router.Join(topicName); err != nil {
		return err
	}
	// As large a queue of received messages as keeps a slow reader out of the measurement.
	subscription, err := p.topic.Subscribe(pubsub.WithBufferSize(4096))
	if err != nil {
		return err
	}
	go p.receive(subscription)
	p.say("READY %s/p2p/%s", listen, p.host.ID())
	return nil
}

func main() {
	p := &process{out: bufio.NewWriter(os.Stdout), background: context.Background()}
	if len(os.Args) != 5 {
		p.say("ERR usage: INDEX COUNT SEED ADDRESS")
		os.Exit(2)
	}
	if err := p.start(os.Args[4]); err != nil {
		p.say("ERR cannot start: %v", err)
		os.Exit(1)
	}
	p.listen()
}
