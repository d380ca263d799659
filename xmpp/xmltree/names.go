package xmltree

// Namespaces that the syntax itself knows.
const (
	nsXML    = "http://www.w3.org/XML/1998/namespace"
	nsXMLNS  = "http://www.w3.org/2000/xmlns/"
	nsStream = "http://etherx.jabber.org/streams" // RFC 6120 §4.8.1
	nsClient = "jabber:client"                    // RFC 6120 §4.8.2
	nsServer = "jabber:server"                    // RFC 6120 §4.8.2
	nsAccept = "jabber:component:accept"          // XEP-0114 §3

	nsDialback = "jabber:server:dialback" // XEP-0220
)

// isContent tells whether uri is one of the content namespaces that are all
// reported as jabber:client.
func isContent(uri string) bool {
	return uri == nsClient || uri == nsServer || uri == nsAccept
}

// Name is an expanded name: namespace and local part.
type Name struct{ Space, Local string }

// Classes of ASCII bytes.
const (
	classStart = 1 << iota // may begin a name
	className              // may go on in a name
	classSpace             // white space, XML 1.0 §2.3
)

var class = [256]uint8{
	'\t': classSpace, '\n': classSpace, '\r': classSpace, ' ': classSpace,
	'-': className, '.': className,
	'0': className, '1': className, '2': className, '3': className, '4': className,
	'5': className, '6': className, '7': className, '8': className, '9': className,
	'A': 3, 'B': 3, 'C': 3, 'D': 3, 'E': 3, 'F': 3, 'G': 3, 'H': 3, 'I': 3, 'J': 3, 'K': 3, 'L': 3, 'M': 3,
	'N': 3, 'O': 3, 'P': 3, 'Q': 3, 'R': 3, 'S': 3, 'T': 3, 'U': 3, 'V': 3, 'W': 3, 'X': 3, 'Y': 3, 'Z': 3,
	'_': 3,
	'a': 3, 'b': 3, 'c': 3, 'd': 3, 'e': 3, 'f': 3, 'g': 3, 'h': 3, 'i': 3, 'j': 3, 'k': 3, 'l': 3, 'm': 3,
	'n': 3, 'o': 3, 'p': 3, 'q': 3, 'r': 3, 's': 3, 't': 3, 'u': 3, 'v': 3, 'w': 3, 'x': 3, 'y': 3, 'z': 3,
}

// isChar is the production Char (XML 1.0 §2.2) for runes that UTF-8 can hold.
func isChar(r rune) bool {
	return r >= 0x20 && r != 0xFFFE && r != 0xFFFF || r == '\t' || r == '\n' || r == '\r'
}

// isNCName tells whether s can stand in a tag as it is: an NCName (Namespaces in
// XML §3) of ASCII letters, digits and marks. Parsers do not agree on which
// other characters make a name, so we neither read nor write them there.
func isNCName(s string) bool {
	for i := range len(s) {
		if class[s[i]]&className == 0 {
			return false
		}
	}
	return s != "" && class[s[0]]&classStart != 0
}
