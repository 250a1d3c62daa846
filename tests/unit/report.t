#!/usr/bin/python3
# Reports to senders, as Python's email package reads them: every field, whatever addresses, answers and originals hold;
# and golden ones in tests/unit/report (made anew with ZLMTP_GOLDEN=1).

import email
import email.policy
import email.utils
import os
import random
import re
import subprocess
import sys

REPORT = os.environ.get('BUILD_DIR', '.') + '/tests/lib/report'
GOLDEN = os.environ.get('SRC_DIR', '.') + '/tests/unit/report'
count = failed = 0


def ok(good, name, why=''):
    global count, failed
    count += 1
    failed += not good
    print(f'{"ok" if good else "not ok"} {count} - {name}')
    if not good:
        for line in str(why)[:6000].split('\n'):
            print('# ' + line.encode('ascii', 'backslashreplace').decode())
    sys.stdout.flush()


def equal(got, expect, name):
    ok(got == expect, name, f'got      {got!r}\nexpected {expect!r}')


def escape(value):
    data = value if isinstance(value, bytes) else str(value).encode()
    return b''.join(b'%%%02X' % c if c < 33 or c > 126 or c == 37 else bytes([c]) for c in data)


def compose(recipients, original=b'Subject: hello\nMessage-ID: <1@example.org>\n\nbody\n', **settings):
    lines = [name.replace('_', '-').encode() + b'=' + escape(value) for name, value in settings.items()]
    for recipient in recipients:
        lines.append(b'recipient=')
        lines += [name.encode() + b'=' + escape(value) for name, value in recipient.items()]
    made = subprocess.run([REPORT], input=b'\n'.join(lines) + b'\n\n' + original, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=True)
    return made.stdout, made.stderr.decode('utf-8', 'replace').strip()


class Report:
    """A report taken apart by the email package; sound if it has the form of RFC 3464 and 6522 at all."""

    def __init__(self, text):
        self.text = text
        self.message = email.message_from_bytes(text, policy=email.policy.default)
        self.parts = list(self.message.iter_parts()) if self.message.is_multipart() else []
        self.trouble = []
        expect = ['text/plain', r'message/(global-)?delivery-status',
                  'text/rfc822-headers|message/rfc822|message/global|message/global-headers']
        if len(self.parts) != 3:
            self.trouble.append(f'{len(self.parts)} parts')
            return
        for part, wanted in zip(self.parts, expect):
            if not re.fullmatch(wanted, part.get_content_type()):
                self.trouble.append(f'{part.get_content_type()}, expected {wanted}')
        if self.message.get_content_type() != 'multipart/report':
            self.trouble.append(self.message.get_content_type())
        if 'message/' + self.message.get_param('report-type') != self.parts[1].get_content_type():
            self.trouble.append('report-type')
        for part in self.message.walk():
            self.trouble += [repr(d) for d in part.defects]
        if self.message['Auto-Submitted'] != 'auto-replied' or self.message['MIME-Version'] != '1.0':
            self.trouble.append('Auto-Submitted, MIME-Version')
        for line in text.split(b'\n'):
            if len(line) > 998 or b'\r' in line or b'\0' in line:
                self.trouble.append(f'line of {len(line)}: {line[:80]}')
        if not text.endswith(b'\n'):
            self.trouble.append('no line end')
        if self.message['Content-Transfer-Encoding'] != '8bit' and any(c > 127 for c in text.split(b'\n\n', 1)[1]):
            self.trouble.append('8-bit and not called so')
        self.words = self.parts[0].get_content()
        self.read_status()

    def read_status(self):
        """The groups of fields, each a list of (name, value); read here, as Python takes global ones for text."""
        raw = self.text.split(b'\n--' + self.message.get_boundary().encode())[2]
        body = raw.split(b'\n\n', 1)[1].decode('utf-8')
        self.groups = []
        for block in body.strip('\n').split('\n\n'):
            parsed = email.message_from_string(block + '\n\n', policy=email.policy.compat32)
            if parsed.defects or parsed.get_payload():
                self.trouble.append(f'status block {block!r}')
            self.groups.append([(n, re.sub(r'\n(?=[ \t])', '', v)) for n, v in parsed.items()])
        if self.parts[1].get_content_type() == 'message/delivery-status':
            theirs = [len(part.items()) for part in self.parts[1].get_payload()]
            if theirs != [len(group) for group in self.groups] and theirs != [len(g) for g in self.groups] + [0]:
                self.trouble.append(f'fields: {theirs}')


BOB = {'address': 'bob@example.net', 'action': 'failed', 'status': '5.1.1', 'diagnostic': 'smtp; 550 (No such user)',
       'remote': 'dns; mx.example.net (192.0.2.1|25|192.0.2.2|4711)', 'attempt': 1790003000,
           'orcpt': 'rfc822;bob+2Bx@example.com'}
KNOWN = dict(kind='failure', sender='ann@example.org', to='ann@example.org', id='S42abc', envid='QQ+2B17',
    host='mail.example.org')


def golden(name, text):
    path = f'{GOLDEN}/{name}.eml'
    if os.environ.get('ZLMTP_GOLDEN'):
        with open(path, 'wb') as f:
            f.write(text)
    with open(path, 'rb') as f:
        expect = f.read()
    ok(text == expect, f'{name} as in {name}.eml', text.decode('utf-8', 'replace'))


# ---- a failure, field by field ----

text, said = compose([BOB], **KNOWN)
r = Report(text)
golden('failure', text)
equal((r.trouble, said), ([], 'composed'), 'a failure is sound')
equal(str(r.message['To']), 'ann@example.org', 'To')
equal(str(r.message['From']), 'Mail Delivery System <MAILER-DAEMON@mail.example.org>', 'From')
equal(r.message['References'], '<1@example.org>', 'References')
equal(r.message['In-Reply-To'], '<1@example.org>', 'In-Reply-To')
equal(email.utils.parsedate_to_datetime(r.message['Date']).timestamp(), 1790003600, 'Date')
equal(r.groups[0], [('Reporting-MTA', 'dns; mail.example.org'), ('Original-Envelope-Id', 'QQ+17'),
                    ('Arrival-Date', 'Mon, 21 Sep 2026 14:13:20 +0000'), ('X-Zlmtp-Spool-Id', 'S42abc')],
      'fields of the message')
equal(r.groups[1:], [[('Original-Recipient', 'rfc822; bob+x@example.com'), ('Final-Recipient',
    'rfc822; bob@example.net'),
                      ('Action', 'failed'), ('Status', '5.1.1'), ('Remote-MTA', 'dns; mx.example.net'),
                      ('Diagnostic-Code', 'smtp; 550 5.1.1 No such user'),
                      ('Last-Attempt-Date', 'Mon, 21 Sep 2026 15:03:20 +0000')]], 'fields of the recipient')
ok('550 5.1.1 No such user' in r.words and '<bob@example.net>' in r.words and 'bob+x@example.com' in r.words,
   'words for people', r.words)
equal(r.parts[2].get_content().as_string(), 'Subject: hello\nMessage-ID: <1@example.org>\n\nbody\n',
    'the original is there')
again, _ = compose([BOB], **KNOWN, now=1790009999)
equal(Report(again).message['Message-ID'], r.message['Message-ID'], 'the same report has the same Message-ID')
other, _ = compose([dict(BOB, address='carol@example.net')], **KNOWN)
ok(Report(other).message['Message-ID'] != r.message['Message-ID'], 'another one has another')

GIVEN = dict(BOB, address='bob', given='rfc822;Bob+40x+2By@example.net')
r = Report(compose([GIVEN], **KNOWN)[0])
equal((r.trouble, r.groups[1][:2]), ([], [('Original-Recipient', 'rfc822; bob+x@example.com'),
      ('Final-Recipient', 'rfc822; Bob@x+y@example.net')]), 'Final-Recipient is whom the client named, not the user of the channel')
del GIVEN['orcpt']
r = Report(compose([GIVEN], **KNOWN)[0])
equal(r.groups[1][0], ('Final-Recipient', 'rfc822; Bob@x+y@example.net'), 'which alone stands there without ORCPT')
ok('<bob>, which you have written as <Bob@x+y@example.net>' in ' '.join(r.words.split()), 'and in the words', r.words)
r = Report(compose([dict(GIVEN, given='rfc822;j+C3+BCrgen@x.example')], **KNOWN)[0])
equal((r.trouble, r.groups[1][0]), ([], ('Final-Recipient', 'utf-8; jürgen@x.example')), 'UTF-8 in it')

# ---- delay, success, several, zones, settings ----

EVE = dict(BOB, address='eve@example.net', action='delayed', status='4.4.1',
    diagnostic='smtp; 400 (connect: Connection refused)',
           remote=' (UNIX:/run/lmtp.sock)', until=1790400000)
del EVE['orcpt']
text, _ = compose([EVE], **dict(KNOWN, kind='delay'), offset=7200, postmaster='help@example.org')
r = Report(text)
golden('delay', text)
equal(r.trouble, [], 'a delay is sound')
group = dict(r.groups[1])
equal((group['Action'], group['Status'], group['Remote-MTA'], group['Will-Retry-Until']),
      ('delayed', '4.4.1', 'x-unix; /run/lmtp.sock', 'Sat, 26 Sep 2026 07:20:00 +0200'), 'fields of a delay')
ok('Original-Recipient' not in group, 'no Original-Recipient without ORCPT')
equal(r.parts[2].get_content_type(), 'text/rfc822-headers', 'a delay has the header alone')
ok('Sat, 26 Sep 2026 07:20:00 +0200' in r.words and 'help@example.org' in r.words, 'until when, and who helps', r.words)

for action in 'delivered', 'relayed', 'expanded':
    text, _ = compose([dict(BOB, action=action, status='2.0.0', diagnostic='smtp; 250 (saved)')], **dict(KNOWN,
        kind='success', ret='FULL'))
    r = Report(text)
    golden(action, text)
    group = dict(r.groups[1])
    equal((r.trouble, group['Action'], group['Status'], group['Diagnostic-Code'], r.parts[2].get_content_type()),
          ([], action, '2.0.0', 'smtp; 250 2.0.0 saved', 'text/rfc822-headers'), action)

MANY = [dict(BOB, address=f'u{i}@example.net') for i in range(3000)]
text, _ = compose(MANY, **KNOWN)
r = Report(text)
equal((r.trouble, [dict(g)['Final-Recipient'] for g in r.groups[1:]]), ([], [f'rfc822; u{i}@example.net'
    for i in range(3000)]),
      '3000 recipients in one report')
ok('2800 more' in r.words, 'the words stop at some', r.words[-900:])

notary = 'bob@example.net\x01failed\x015.7.1\x01smtp; 554 (not for you [really])\x01dns; mx (ADDR|1|ADDR|2)\x01lmtp[7]'
r = Report(compose([{'address': 'bob@example.net', 'notary': notary}], **KNOWN)[0])
group = dict(r.groups[1])
equal((group['Status'], group['Remote-MTA'], group['Diagnostic-Code']),
      ('5.7.1', 'dns; mx', 'smtp; 554 5.7.1 not for you [really]'), 'NOTARY of a d line')
r = Report(compose([{'address': 'x@y', 'notary': 'x@y\x01failed\x014.4.7\x01smtp; 400 (expired)\x01\x01lmtp[7]'}],
    **KNOWN)[0])
group = dict(r.groups[1])
equal((r.trouble, group['Status'], group['Diagnostic-Code'], 'Remote-MTA' in group), ([], '4.4.7', 'x-local; expired',
    False),
      'trouble of our own is not said to be a reply')
r = Report(compose([dict(BOB, remote='', diagnostic='x-local; disk full')], **KNOWN)[0])
equal((r.trouble, dict(r.groups[1])['Diagnostic-Code']), ([], 'x-local; disk full'), 'a type of its own')
for status, action, expect in (('', 'failed', '5.0.0'), ('4.2.2', 'failed', '4.2.2'), ('2.1.5', 'failed', '5.0.0'),
                               ('5.1.1', 'delayed', '4.0.0'), ('5.1', 'failed', '5.0.0'), ('5.1.1 x', 'failed',
                                   '5.0.0'),
                               ('5.1111.1', 'failed', '5.0.0'), ('5.1.1\nX: y', 'failed', '5.0.0')):
    r = Report(compose([dict(BOB, status=status, action=action)], **KNOWN)[0])
    equal((r.trouble, dict(r.groups[1])['Status']), ([], expect), f'status {status!r} of one {action}')

SMALL = b'Subject: x\nMessage-ID: <2@x>\n\n' + b'line\n' * 20000
for ret, limit, expect in ((None, 102400, 'message/rfc822'), ('FULL', 102400, 'message/rfc822'), ('HDRS', 102400,
    'text/rfc822-headers'),
                           ('FULL', 100000, 'text/rfc822-headers'), (None, 0, 'text/rfc822-headers')):
    r = Report(compose([BOB], SMALL, **dict(KNOWN, max=limit, **({'ret': ret} if ret else {})))[0])
    equal((r.trouble, r.parts[2].get_content_type()), ([], expect), f'RET={ret}, report-max={limit}')
r = Report(compose([BOB], **dict(KNOWN, **{'from': 'daemon@example.com'}, to='postmaster@example.org'))[0])
equal((str(r.message['From']), str(r.message['To'])), ('Mail Delivery System <daemon@example.com>',
    'postmaster@example.org'),
      'report-from, and a copy to the postmaster')
for original in b'Subject: x\n\nbody\n', b'Message-ID: junk\n\nx', b'Message-ID: <a b>\n\nx', b'\n', b'':
    r = Report(compose([BOB], original, **KNOWN)[0])
    equal((r.trouble, r.message['References']), ([], None), f'no References to the id in {original!r}')

# ---- SMTPUTF8 (RFC 6533) ----

UTF8 = dict(BOB, address='jürgen@bücher.example', orcpt='utf-8;j\\x{FC}rgen@b\\x{FC}cher.example')
text, said = compose([UTF8, BOB], 'Subject: grüße\nFrom: ä@ö.example\nMessage-ID: <1@x>\n\nbödy\n'.encode(),
                     **dict(KNOWN, to='änn@example.org', sender='änn@example.org'))
r = Report(text)
golden('smtputf8', text)
equal((r.trouble, said), ([], 'composed, smtputf8'), 'a report with UTF-8 addresses is sound')
equal([p.get_content_type() for p in r.parts], ['text/plain', 'message/global-delivery-status', 'message/global'],
    'global types')
group = dict(r.groups[1])
equal((group['Original-Recipient'], group['Final-Recipient'], dict(r.groups[2])['Final-Recipient']),
      ('utf-8; jürgen@bücher.example', 'utf-8; jürgen@bücher.example', 'rfc822; bob@example.net'), 'address type utf-8')
ok('To: änn@example.org\n'.encode() in text and 'Subject: grüße\n'.encode() in text, 'UTF-8 in the headers')
r = Report(compose([UTF8], **dict(KNOWN, kind='delay'))[0])
equal((r.trouble, r.parts[2].get_content_type()), ([], 'message/global-headers'), 'the header alone')
r = Report(compose([dict(BOB, orcpt='rfc822;j+C3+BCrgen@x')], **KNOWN)[0])
equal((r.trouble, dict(r.groups[1])['Original-Recipient']), ([], 'utf-8; jürgen@x'), 'UTF-8 in xtext')
text, said = compose([BOB], 'Subject: grüße\n\nbödy\n'.encode(), **KNOWN)
r = Report(text)
equal((r.trouble, said, str(r.parts[2].get_content()['Subject'])), ([], 'composed', 'grüße'),
      'an 8-bit header goes out in ASCII where no address is UTF-8')
ok(b'b\xc3\xb6dy' in text and r.parts[2]['Content-Transfer-Encoding'] == '8bit', 'an 8-bit body stays')
for to in ['ann@example.org.', 'a@b@example.org', '@example.org', 'ann@', 'ann@a..example', 'ann@.example', 'ann@a:25', 'ann@sto[re',
           'ann@[]', '""@', '@']:
    equal(str(Report(compose([BOB], **dict(KNOWN, to=to))[0]).message['To']), 'undisclosed-recipients:;', f'a header cannot have {to}')
for to in ['ann@[127.0.0.1]', 'ann@[IPv6:::1]', '"a b"@example.org', 'ann']:
    equal(str(Report(compose([BOB], **dict(KNOWN, to=to))[0]).message['To']), to, f'it can have {to}')

text, said = compose([dict(BOB, address=b'b\xff@x')], b'Subject: \xff\n\n\xff\n', **dict(KNOWN, to=b'\xfe@x'))
r = Report(text)
equal((r.trouble, said, dict(r.groups[1])['Final-Recipient']), ([], 'composed', 'rfc822; b?@x'),
    'bytes that are no UTF-8')
r = Report(compose([dict(BOB, address='x..y@example.net', orcpt='rfc822;.x@example.net')], **KNOWN)[0])
equal((r.trouble, dict(r.groups[1])['Original-Recipient'], dict(r.groups[1])['Final-Recipient']),
      ([], 'rfc822; ".x"@example.net', 'rfc822; "x..y"@example.net'), 'local parts with loose dots have their quotes')

# ---- forms ----

FORM = 'Subject: Nicht zugestellt: $subject\n\n' \
    'Von $host, Nummer $id, $$5: grüße $sender.\n$recipients\nEnde $postmaster\n'
text, said = compose([BOB], **KNOWN, form=FORM)
r = Report(text)
golden('form', text)
equal((r.trouble, said), ([], 'composed'), 'a form of the site')
equal(str(r.message['Subject']), 'Nicht zugestellt: hello', 'its subject')
ok('Von mail.example.org, Nummer S42abc, $5: grüße ann@example.org.\n  <bob@example.net>' in r.words, 'its words',
    r.words)
for form, why in (('Subject: x\n\n$recipients\n$nothing\n', '4: $nothing is no name'),
    ('Subject: x\nno empty line\n$recipients\n', '1: expected "Subject'),
                  ('words\n', '1: expected "Subject'), (b'Subject: x\n\n\xff\n$recipients\n', '3: not UTF-8'), ('',
                      '1: expected'),
                  (b'Subject: x\n\n\0$recipients\n', '1: holds a NUL'), ('Subject: x\n\nwords\n',
                      '3: expected $recipients'),
                  (b'Subject: x\n\n\x1b$recipients\n', '3: holds a control'),
                      ('Subject: x\n\n' + 'x' * 70000 + '\n$recipients\n', '1: larger'),
                  ('Subject: \n\n$recipients\n', '1: expected a subject'), ('Subject: x\n\nto $recipients\n',
                      '3: expected $recipients')):
    text, said = compose([BOB], **KNOWN, form=form)
    ok(said.startswith(why) and not Report(text).trouble and 'could not be delivered' in Report(text).words,
       f'a damaged form says {why} and the built-in words stay', said)
r = Report(compose([BOB], **KNOWN, form='\ufeffSubject: x\r\n\r\n$recipients\r\n' + 'y' * 3000)[0])
equal((r.trouble, str(r.message['Subject'])), ([], 'x'), 'CR LF, a byte order mark, long lines')

# ---- what hurts ----

text, said = compose([BOB], **KNOWN, body_fails='yes')
equal(said, 'body unreadable: the disk is on fire', 'a body that cannot be read')
text, said = compose([BOB], SMALL, **KNOWN, room=70000)
equal(said, 'sink failed', 'a sink that takes no more')

original = b'Subject: x\n\n--=_S42abc_0_=\nX: y\n\n--=_S42abc_17_=--\n'
r = Report(compose([dict(BOB, diagnostic='smtp; 550 (=_S42abc_99_=)')], original, **KNOWN)[0])
equal((r.trouble, r.message.get_boundary()), ([], '=_S42abc_100_='), 'the boundary does not occur')
for cut in range(976, 1000):
    r = Report(compose([BOB], b'Subject: x\n\n' + b'y' * cut + b'\n--=_S42abc_5_=\n', **KNOWN)[0])
    if r.trouble or r.message.get_boundary() != '=_S42abc_6_=':
        break
equal((cut, r.message.get_boundary(), r.trouble), (999, '=_S42abc_6_=', []), 'nor where two pieces of the body meet')
original = (b'Subject: ' + b'x' * 5000 + b'\nX: a\rBcc: b\n\n' + b'y' * 5000 + b'\n' + 'ü'.encode() * 3000 +
            b'\rcr\r\nnul\0\n')
r = Report(compose([BOB], original, **KNOWN)[0])
equal(r.trouble, [], 'long lines, CR and NUL of the original')
original = r.parts[2].get_content()
ok(original['Bcc'] is None and 'nul\n' in original.get_content() and 'cr\nnul' in original.get_content(),
    'they add no field and no byte')

HOSTILE = [b'a\nBcc: x@y', b'a\r\n\r\n<html>', b'"a\\"b"@x', b'<script>@x', b'x' * 3000, b'\xff\xfe',
    'ü\u202e@x'.encode(), b'', b' ', b'a,b@c',
           b'--=_S42abc_0_=--', b'a;b', b'a@b\x00c', b'\x1b[31m', b'%s%n$sender', b'a: b\n\nc', b'=?utf-8?Q?x?=',
               b'a(b)c@d', b'\t', b'a\\']
random.seed(14)
bad = []
for i in range(250):
    def pick():
        return random.choice(HOSTILE)
    recipients = [dict(address=pick(), orcpt=random.choice([pick(), b'rfc822;' + pick(), b'utf-8;' + pick()]),
                       action=random.choice(['failed', 'delayed', 'delivered', 'relayed']), status=pick(),
                           remote=b'dns; ' + pick(),
                       diagnostic=random.choice([b'smtp; 550 (' + pick() + b')', pick()]))
                           for _ in range(random.randint(1, 3))]
    given = dict(kind=random.choice(['failure', 'delay', 'success']), to=pick(), sender=pick(), envid=pick(),
        id=random.choice([pick(), b'S42abc']),
                 host=pick())
    given = {n: v.replace(b'\0', b'') if isinstance(v, bytes) else v for n, v in given.items()}
    recipients = [{n: v.replace(b'\0', b'') if isinstance(v, bytes) else v for n, v in r.items()} for r in recipients]
    original = b'Subject: ' + pick().replace(b'\n', b'\n ') + b'\nMessage-ID: <' + pick().replace(b'\n',
        b'\n ') + b'>\n\n' + pick() + b'\n'
    text, said = compose(recipients, original, **given)
    r = Report(text)
    extra = set(r.message.keys()) - {'From', 'To', 'Subject', 'Date', 'Message-ID', 'In-Reply-To', 'References',
        'Auto-Submitted',
                                     'MIME-Version', 'Content-Type', 'Content-Transfer-Encoding'}
    names = {n for g in getattr(r, 'groups', []) for n, _ in g} - {
        'Reporting-MTA', 'Original-Envelope-Id', 'Arrival-Date', 'X-Zlmtp-Spool-Id', 'Original-Recipient',
            'Final-Recipient', 'Action',
        'Status', 'Remote-MTA', 'Diagnostic-Code', 'Last-Attempt-Date', 'Will-Retry-Until'}
    if r.trouble or extra or names or '\u202e'.encode() in text.split(b'\n\n',
        1)[0] or len(r.groups) != 1 + len(recipients) or not said.startswith('composed'):
        bad.append((r.trouble, extra, names, said, text.decode('utf-8', 'replace')))
ok(not bad, f'{len(bad)} of 250 hostile reports are not sound', '\n'.join(map(str, bad[0])) if bad else '')

print(f'1..{count}')
sys.exit(failed != 0)
