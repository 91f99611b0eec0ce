# With shell, you can just pass the correct header with each request
curl
	-d
		"message='This is a prank'"
	-X POST
	"http://3islabs.com/everyprint/api/broadcast"

# With shell, you can just pass the correct header with each request
curl
	-d
		"customer_id='EDY6dsLD'&message='No footer in your document, are you aware ?'"
	-X GET
	"http://3islabs.com/everyprint/api/broadcast/customer"

# With shell, you can just pass the correct header with each request
curl
	-d
		"group='Yaounde Students'&message='This is a prank'"
	-X POST
	"http://3islabs.com/everyprint/api/broadcast/group"
