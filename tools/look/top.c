// top: the screen, the keys, and the thread that asks.
#include "tools/look/top.h"

#include <curses.h>
#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/client.h"
#include "tools/verbs.h"

enum { ASK_EVERY_MS = 1000, KEY_WAIT_MS = 200, ONCE_GAP_MS = 300, SCREEN_LEAST = 20 };

struct top {
    const char *home;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool ending;
    struct top_data data;  // under the mutex
};

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// ---- asking ----

static void *ask(void *context)
{
    struct top *t = context;
    pthread_mutex_lock(&t->mutex);
    while (!t->ending) {
        pthread_mutex_unlock(&t->mutex);
        struct top_answers answers;
        top_ask(t->home, &answers);
        pthread_mutex_lock(&t->mutex);
        top_data_take(&t->data, &answers, now());
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += ASK_EVERY_MS / 1000;
        if (!t->ending) pthread_cond_timedwait(&t->wake, &t->mutex, &until);
    }
    pthread_mutex_unlock(&t->mutex);
    return NULL;
}

// ---- the screen ----

static void start_colors(void)
{
    static const short colors[] = {[TINT_GOOD] = COLOR_GREEN, [TINT_WARN] = COLOR_YELLOW, [TINT_BAD] = COLOR_RED};
    if (!has_colors()) return;
    start_color();
    use_default_colors();
    for (short k = TINT_GOOD; k <= TINT_BAD; k++) init_pair(k, colors[k], -1);
}

static attr_t attribute(enum tint tint, bool color)
{
    switch (tint) {
    case TINT_BOLD: return A_BOLD;
    case TINT_DIM: return A_DIM;
    case TINT_GOOD:
    case TINT_WARN:
    case TINT_BAD: return color ? (attr_t)COLOR_PAIR(tint) : A_BOLD;
    default: return A_NORMAL;
    }
}

// One line, cut where the screen ends. Anything that could steer the terminal becomes '?'.
static void paint(int y, const char *line, uint32_t width, bool color)
{
    uint32_t columns = 0;
    attrset(A_NORMAL);
    move(y, 0);
    for (const char *p = line; *p && columns < width;) {
        if (*p == TOP_MARK && p[1]) {
            attrset(attribute((enum tint)(p[1] - 1), color));
            p += 2;
            continue;
        }
        int size = 1;
        while ((p[size] & 0xc0) == 0x80) size++;
        if (size == 1 && ((unsigned char)*p < 0x20 || *p == 0x7f))
            addch('?');
        else
            addnstr(p, size);
        p += size;
        columns++;
    }
    attrset(A_NORMAL);
}

struct screen {
    struct top *t;
    struct top_look look;
    uint32_t scroll[TOP_TABS];
    bool color;
    bool anew;  // another view: painted whole, over whatever else wrote on the terminal
};

static void draw(struct screen *s)
{
    struct top_lines header = {0}, view = {0};
    int height, width;
    getmaxyx(stdscr, height, width);
    s->look.width = width > 0 ? (uint32_t)width : 1;
    s->look.height = height > 0 ? (uint32_t)height : 1;
    s->look.now_ms = now();
    pthread_mutex_lock(&s->t->mutex);
    top_header(&s->t->data, &s->look, &header);
    top_view(&s->t->data, &s->look, &view);
    pthread_mutex_unlock(&s->t->mutex);
    if (s->anew)
        clear();
    else
        erase();
    s->anew = false;
    uint32_t y = 0;
    for (; y < header.count && y < s->look.height; y++) paint((int)y, header.lines[y], s->look.width, s->color);
    const uint32_t room = s->look.height > y + 1 ? s->look.height - y - 1 : 0;
    uint32_t *scroll = &s->scroll[s->look.tab];
    if (*scroll + room > view.count) *scroll = view.count > room ? view.count - room : 0;
    for (uint32_t i = *scroll; i < view.count && y + 1 < s->look.height; i++, y++)
        paint((int)y, view.lines[i], s->look.width, s->color);
    char foot[80];
    snprintf(foot, sizeof foot, "\001\003q out  ? help  1-5 tabs%s", view.count > room ? "  arrows scroll" : "");
    if (s->look.height > 2) paint((int)s->look.height - 1, foot, s->look.width, s->color);
    refresh();
    top_lines_free(&header);
    top_lines_free(&view);
}

static void scroll_by(struct screen *s, int32_t lines)
{
    uint32_t *scroll = &s->scroll[s->look.tab];
    if (lines < 0 && *scroll < (uint32_t)-lines)
        *scroll = 0;
    else if (lines < 0 || *scroll < 1u << 20)
        *scroll += (uint32_t)lines;
}

// False: out.
static bool take_key(struct screen *s, int key)
{
    const struct top_look before = s->look;
    const int32_t page = s->look.height > 8 ? (int32_t)s->look.height - 6 : 2;
    if (key >= '1' && key < '1' + TOP_TABS) s->look.tab = (enum top_tab)(key - '1');
    switch (key) {
    case 'q': return false;
    case '?':
    case 'h': s->look.help = !s->look.help; break;
    case '\t':
    case KEY_RIGHT: s->look.tab = (s->look.tab + 1) % TOP_TABS; break;
    case KEY_BTAB:
    case KEY_LEFT: s->look.tab = (s->look.tab + TOP_TABS - 1) % TOP_TABS; break;
    case KEY_DOWN:
    case 'j': scroll_by(s, 1); break;
    case KEY_UP:
    case 'k': scroll_by(s, -1); break;
    case KEY_NPAGE:
    case ' ': scroll_by(s, page); break;
    case KEY_PPAGE: scroll_by(s, -page); break;
    case KEY_HOME: s->scroll[s->look.tab] = 0; break;
    case KEY_END: s->scroll[s->look.tab] = 1u << 20; break;
    default: break;
    }
    if (key != '?' && key != 'h' && key != ERR && key != KEY_RESIZE) s->look.help = false;
    s->anew = s->look.tab != before.tab || s->look.help != before.help || key == KEY_RESIZE;
    return true;
}

static int watch(struct call *call, struct top *t)
{
    SCREEN *terminal = newterm(NULL, stdout, stdin);
    if (!terminal) {
        output_error(&call->out, "UNSUPPORTED",
                     "this terminal can't be drawn on (TERM is %s); `mycel top --once` prints plain text",
                     getenv("TERM") ? getenv("TERM") : "not set");
        return 4;
    }
    struct screen s = {.t = t, .look = {.utf8 = output_utf8()}, .color = call->out.color};
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
    timeout(KEY_WAIT_MS);
    if (s.color) start_colors();
    client_catch_interrupts();
    do {
        draw(&s);
    } while (!client_interrupted() && take_key(&s, getch()));
    endwin();
    delscreen(terminal);
    return 0;
}

// ---- plain text ----

// Columns of the word that begins at `p`.
static size_t word_columns(const char *p)
{
    char word[512];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(p, " "), p);
    return top_line_columns(word);
}

// A line too long for OUTPUT_WIDTH (what is wrong, and its remedy) goes on in the next.
static void print_lines(const struct top_lines *l, const struct output *out)
{
    for (uint32_t i = 0; i < l->count; i++) {
        char *line = l->lines[i];
        for (size_t n = strlen(line); n && line[n - 1] == ' ';) line[--n] = 0;
        size_t column = 0;
        for (const char *p = line; *p; p++) {
            if (*p == TOP_MARK && p[1]) {
                const enum tint tint = (enum tint)(*++p - 1);
                fputs(tint == TINT_NONE ? output_plain(out) : output_tint(out, tint), stdout);
            } else if (*p == ' ' && column + 1 + word_columns(p + 1) > OUTPUT_WIDTH) {
                fputs("\n  ", stdout);
                column = 2;
            } else {
                putchar((unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p);
                column += (*p & 0xc0) != 0x80;
            }
        }
        printf("%s\n", output_plain(out));
    }
}

static int once(struct call *call, struct top *t)
{
    struct top_answers answers;
    for (int k = 0; k < 2; k++) {  // the second for the rates
        if (k) usleep(ONCE_GAP_MS * 1000);
        top_ask(t->home, &answers);
        top_data_take(&t->data, &answers, now());
    }
    if (!t->data.last.status) return client_no_daemon(call);
    struct top_look look = {.width = OUTPUT_WIDTH, .height = 1000, .utf8 = output_utf8(), .now_ms = now()};
    struct top_lines header = {0};
    top_header(&t->data, &look, &header);
    free(header.count ? header.lines[--header.count] : NULL);  // the tabs
    print_lines(&header, &call->out);
    top_lines_free(&header);
    for (int tab = TOP_PEERS; tab < TOP_EVENTS; tab++) {
        struct top_lines view = {0};
        look.tab = (enum top_tab)tab;
        top_view(&t->data, &look, &view);
        putchar('\n');
        print_lines(&view, &call->out);
        top_lines_free(&view);
    }
    return 0;
}

int command_top(struct call *call)
{
    setlocale(LC_CTYPE, "");
    struct top t = {.home = call->home};
    int status;
    pthread_mutex_init(&t.mutex, NULL);
    pthread_cond_init(&t.wake, NULL);
    if (args_has(&call->args, "once") || !isatty(STDOUT_FILENO)) {
        status = once(call, &t);
    } else {
        pthread_t thread;
        const int failed = pthread_create(&thread, NULL, ask, &t);
        if (failed) {
            output_error(&call->out, "IO", "cannot start a thread: %s", strerror(failed));
            return 1;
        }
        status = watch(call, &t);
        pthread_mutex_lock(&t.mutex);
        t.ending = true;
        pthread_cond_signal(&t.wake);
        pthread_mutex_unlock(&t.mutex);
        pthread_join(thread, NULL);
    }
    top_data_close(&t.data);
    pthread_cond_destroy(&t.wake);
    pthread_mutex_destroy(&t.mutex);
    return status;
}
