// A memberlist process for `mycel bench mesh`: memberlist INDEX COUNT SEED ADDRESS, steered by the lines that
// bench/mesh_node.h describes. Settings are DefaultLANConfig with a key (AES-GCM), as Serf and Consul run it; broadcasts
// are handed on by a TransmitLimitedQueue, as Serf does.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const latenciesPerLine = 128

func nowMicros() int64 { return time.Now().UnixMicro() }

type delivery struct {
	number  uint64
	latency int64
}

// What the driver wants to know; guarded by mu.
type process struct {
	mu         sync.Mutex
	out        *bufio.Writer
	count      int
	seen       map[string]bool
	full       bool
	known      map[uint64]bool
	deliveries []delivery
	duplicates int
	queue      *memberlist.TransmitLimitedQueue
}

type broadcast struct{ bytes []byte }

func (b *broadcast) Invalidates(memberlist.Broadcast) bool { return false }
func (b *broadcast) Message() []byte                       { return b.bytes }
func (b *broadcast) Finished()                             {}

// say needs mu.
func (p *process) say(format string, args ...any) {
	fmt.Fprintf(p.out, format+"\n", args...)
	p.out.Flush()
}

// Names are n000, n001, ...
func indexOf(name string) int {
	index, err := strconv.Atoi(strings.TrimPrefix(name, "n"))
	if err != nil {
		return -1
	}
	return index
}

// ---- memberlist's delegates ----

func (p *process) NodeMeta(int) []byte           { return nil }
func (p *process) LocalState(bool) []byte        { return nil }
func (p *process) MergeRemoteState([]byte, bool) {}
func (p *process) NotifyUpdate(*memberlist.Node) {}
func (p *process) GetBroadcasts(overhead, limit int) [][]byte {
	return p.queue.GetBroadcasts(overhead, limit)
}

func (p *process) NotifyMsg(bytes []byte) {
	now := nowMicros()
	if len(bytes) < 16 {
		return
	}
	number, sent := binary.LittleEndian.Uint64(bytes), int64(binary.LittleEndian.Uint64(bytes[8:]))
	p.mu.Lock()
	if p.known[number] {
		p.duplicates++
		p.mu.Unlock()
		return
	}
	p.known[number] = true
	p.deliveries = append(p.deliveries, delivery{number, now - sent})
	p.mu.Unlock()
	p.queue.QueueBroadcast(&broadcast{append([]byte(nil), bytes...)})
}

func (p *process) NotifyJoin(node *memberlist.Node) {
	now := nowMicros()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[node.Name] = true
	if p.full {
		p.say("BACK %d %d", now, indexOf(node.Name))
	} else if len(p.seen) == p.count {
		p.full = true
		p.say("FULL %d", now)
	}
}

func (p *process) NotifyLeave(node *memberlist.Node) {
	now := nowMicros()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.seen, node.Name)
	if p.full {
		p.say("GONE %d %d", now, indexOf(node.Name))
	}
}

// ---- commands ----

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
		number := first + uint64(i)
		binary.LittleEndian.PutUint64(bytes, number)
		binary.LittleEndian.PutUint64(bytes[8:], uint64(nowMicros()))
		p.mu.Lock()
		p.known[number] = true
		p.mu.Unlock()
		p.queue.QueueBroadcast(&broadcast{bytes})
	}
	p.mu.Lock()
	p.say("DONE %d", nowMicros())
	p.mu.Unlock()
}

func (p *process) report() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for from := 0; from < len(p.deliveries); from += latenciesPerLine {
		line := "LAT"
		for _, d := range p.deliveries[from:min(from+latenciesPerLine, len(p.deliveries))] {
			line += fmt.Sprintf(" %d %d", d.number, max(d.latency, 0))
		}
		p.say("%s", line)
	}
	p.say("STAT %d %d", len(p.deliveries), p.duplicates)
	p.deliveries, p.duplicates = nil, 0
}

func (p *process) join(list *memberlist.Memberlist, addresses []string) {
	for {
		if _, err := list.Join(addresses); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (p *process) fail(what string, err error) {
	p.mu.Lock()
	p.say("ERR %s: %v", what, err)
	p.mu.Unlock()
}

func (p *process) listen(list *memberlist.Memberlist) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 0:
		case words[0] == "JOIN":
			go p.join(list, words[1:])
		case words[0] == "PUB" && len(words) == 5:
			first, _ := strconv.ParseUint(words[1], 10, 64)
			size, _ := strconv.Atoi(words[2])
			count, _ := strconv.Atoi(words[3])
			rate, _ := strconv.ParseFloat(words[4], 64)
			go p.publish(first, max(size, 16), count, rate)
		case words[0] == "STAT":
			p.report()
		default:
			p.fail("what is", fmt.Errorf("%s", words[0]))
		}
	}
}

func main() {
	p := &process{out: bufio.NewWriter(os.Stdout), seen: map[string]bool{}, known: map[uint64]bool{}}
	if len(os.Args) != 5 {
		p.fail("usage", fmt.Errorf("INDEX COUNT SEED ADDRESS"))
		os.Exit(2)
	}
	index, _ := strconv.Atoi(os.Args[1])
	p.count, _ = strconv.Atoi(os.Args[2])
	host, port, err := net.SplitHostPort(os.Args[4])
	if err != nil {
		p.fail("address", err)
		os.Exit(2)
	}
	config := memberlist.DefaultLANConfig()
	config.Name = fmt.Sprintf("n%03d", index)
	config.BindAddr, config.AdvertiseAddr = host, host
	config.BindPort, _ = strconv.Atoi(port)
	config.AdvertisePort = config.BindPort
	key := sha256.Sum256([]byte(os.Args[3]))
	config.SecretKey = key[:]
	config.LogOutput = io.Discard
	config.Events, config.Delegate = p, p
	count := p.count
	p.queue = &memberlist.TransmitLimitedQueue{
		NumNodes:       func() int { return count },
		RetransmitMult: config.RetransmitMult,
	}
	list, err := memberlist.Create(config)
	if err != nil {
		p.fail("cannot start", err)
		os.Exit(1)
	}
	p.mu.Lock()
	p.say("READY %s", os.Args[4])
	p.mu.Unlock()
	p.listen(list)
}
